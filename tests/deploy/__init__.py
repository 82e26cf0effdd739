"""`make deploy-check`: the Helm chart rendered, held against schemas, and compared with the program's own tables."""
