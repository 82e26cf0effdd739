"""What we publish: the topics, the record types in them, and the documents generated from both.

May import: nothing of ours.
Read: topics, identities, schemas, notices, decoding, signing, docs.
"""
