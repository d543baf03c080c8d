from updates.releases import Release, history, is_upgrade, newest


def test_newest_of_channel():
    releases = [Release("1.2.0"), Release("2.0.0", "beta"), Release("1.1.0")]
    assert newest(releases).version == "1.2.0"
    assert newest(releases, "beta").version == "2.0.0"


def test_two_digits():
    assert newest([Release("1.9.0"), Release("1.10.0"), Release("1.2.0")]).version == "1.10.0"


def test_withdrawn():
    assert newest([Release("1.0.0", withdrawn=True)]) is None


def test_upgrade():
    assert is_upgrade("v1.0.1", "1.0.2")
    assert not is_upgrade("1.0.2", "1.0.2")


def test_history():
    versions = ["0.9.9", "0.10.1", "v0.2.0"]
    assert history([Release(version) for version in versions]) == ["0.10.1", "0.9.9", "v0.2.0"]
