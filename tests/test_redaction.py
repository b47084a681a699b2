"""What is shown of a server's address never holds its password."""

from __future__ import annotations

import pytest

from redaction import without_logins, without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:pw@h:1/2", "redis://:***@h:1/2"),
        ("rediss://me:p@w@h/2", "rediss://me:***@h/2"),
        ("unix://me@/run/s?db=1&password=pw", "unix://me@/run/s?db=1&password=***"),
        ("unix:///run/s?password=p@w&db=1", "unix:///run/s?password=***&db=1"),
        ("redis://me:p/w://@h", "redis://me:***@h"),
        ("me:pw@h", "me:***@h"),
        ("https://gateway:8080/v1", "https://gateway:8080/v1"),
        ("https://me:pw@gateway:8080/v1", "https://me:***@gateway:8080/v1"),
        ("postgresql://u:p@w@h/x?sslmode=require", "postgresql://u:***@h/x?sslmode=require"),
        ("postgresql:///x?host=/run&sslpassword=p#w", "postgresql:///x?host=/run&sslpassword=***"),
        ("postgresql://h/x?user=u&password=p:w@h&port=1", "postgresql://h/x?user=u&password=***&port=1"),
        ("host=h password='p w \\' p' user=u", "host=h password=*** user=u"),
        ("host=h password='p w", "host=h password=***"),
        ("host=h PASSWORD = pw user=u", "host=h PASSWORD = *** user=u"),
    ],
)
def test_addresses_are_shown_without_passwords(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_every_url_in_a_text_loses_its_login() -> None:
    text = "no amqp://me:pw@rabbit:5672/ and no redis://:pw@h, but http://h/v1"

    assert without_logins(text) == "no amqp://[login]@rabbit:5672/ and no redis://[login]@h, but http://h/v1"
