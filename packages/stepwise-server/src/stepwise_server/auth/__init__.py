"""Who calls: users, access keys, tokens, roles.

identity.py      who a request comes from, and what a role may do
tokens.py        signed tokens: made, read, taken back
secrets.py       the installation's own secret and the hashing of others
authenticate.py  from the headers of a request to an identity
"""
