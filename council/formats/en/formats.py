"""The admin's date and time formats, the same as on the members' pages. FORMAT_MODULE_PATH points here."""

DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = "j M Y, H:i"
