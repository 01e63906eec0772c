"""Rehearsals run the pending migrations on a temporary copy of the database, while a load uses that copy.

source, dumps, filling  what is copied: a database that is only read, a dump, or made-up members
target                  where to: a private server in a temporary folder, or an empty database
load                    what the gateway sends meanwhile, at times that do not depend on earlier answers
rehearsal               all steps, one after the other
record                  what was recorded
outcome                 the conclusions: waits, locks, the verdict; table, json_report and page show them

This package names no table. `council.gateway` knows what the gateway sends, and which rows it writes. An app registers
in its module `rehearsal` what must be set after rows were filled in.
"""
