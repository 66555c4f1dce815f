"""What runs when: jobs, schedules, sensors and housekeeping. No formulas and no table logic."""
