import pytest
from pydantic import ValidationError

from tracker_dagster.settings import Settings
from tracker_dagster.sources.messages import is_loopback


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8765",
        "http://127.0.0.2:1",
        "http://127.1.2.3",
        "http://[::1]:3",
        "http://localhost:80/x",
        "http://LOCALHOST",
    ],
)
def test_addresses_of_this_machine(url):
    assert is_loopback(url)
    assert Settings(sim_url=url).sim_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "http://0.0.0.0:1",
        "http://128.0.0.1",
    ],
)
def test_addresses_of_others(url):
    assert not is_loopback(url)
    # What is not on this machine must not be sent keys in the clear.
    with pytest.raises(ValidationError):
        Settings(sim_url=url)
