"""Who calls: users, access keys, tokens, roles.

identity.py      who a request comes from, and what a role may do
tokens.py        signed tokens: made, read, taken back
secrets.py       the installation's own secret and the hashing of others
published.py     access keys that anybody can read, and that are refused
failures.py      failed logins, counted
authenticate.py  from the headers of a request to an identity
browser.py       what is asked of calls with the login cookie
accounts.py      users and their keys: added, changed, taken back
"""
