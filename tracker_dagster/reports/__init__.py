"""Reports: frames in, markdown, pictures and files out. No decisions are taken here."""
