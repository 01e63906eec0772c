"""Rehearsals: running the pending migrations on a throw-away copy of the database while it is in use.

source, dumps, generator  what is copied: a database that is only read, a dump, or made-up members
target                    where to: a private server in a temporary folder, or an empty database
load                      what the gateway does meanwhile, at fixed times, so that waits are as long as a user's
rehearsal                 all steps, one after the other
outcome                   the results and the verdict; table, figures and page show them as text, JSON and HTML
"""
