import pytest
from devices import ALICE, BOB, Connected, Device, InRoom


@pytest.fixture
def alice():
    return Device(ALICE, "ALICE")


@pytest.fixture
def bob():
    return Device(BOB, "BOB")


@pytest.fixture
def pair():
    return Connected()


@pytest.fixture
def room():
    return InRoom()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "alice.sqlite"
