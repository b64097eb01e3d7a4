"""Uploaded files: artifacts, models, images.

names.py     which names there are, and where on the disk they lie; nothing else decides that
store.py     the folder and its table: take in, look up, remove
upload.py    a multipart body, streamed into the store
download.py  a stored file, whole or in part, streamed out
routes.py    the HTTP side: /files
"""
