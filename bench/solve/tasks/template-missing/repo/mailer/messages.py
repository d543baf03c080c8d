"""Mails ready to be sent."""

from mailer.errors import AddressError
from mailer.templates import render


def checked_address(address):
    """Return a tidy address, or raise."""
    address = address.strip().lower()
    name, at, host = address.partition("@")
    if not (name and at and "." in host):
        raise AddressError(address)
    return address


def compose(to, subject, body, **values):
    """Return a mail as a dict, subject and body rendered."""
    return {
        "to": checked_address(to),
        "subject": render(subject, values),
        "body": render(body, values).rstrip() + "\n",
    }
