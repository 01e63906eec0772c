"""A rehearsal: the pending migrations, run on a throw-away copy of the database while it is in use.

source     what is copied: a dump, a database that is only read, or nothing but a number of members
target     where to: a private server in a temporary folder, or an empty database that is named for it
load       what the gateway does meanwhile, by the clock, so that a wait is as long as a user's
rehearsal  one after the other, and what was seen
report     the verdict, and how it is shown: tables, JSON, a page with a picture
"""
