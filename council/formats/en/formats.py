"""How the admin writes dates and times: as the members' pages do. Django reads it by FORMAT_MODULE_PATH."""

DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = "j M Y, H:i"
