"""What can go wrong with mail."""


class MailError(Exception):
    """Any failure of this package."""


class TemplateError(MailError):
    """A template and its values do not fit."""


class AddressError(MailError):
    """Not a mail address."""
