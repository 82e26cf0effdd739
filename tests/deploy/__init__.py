"""`make deploy-check`: the Helm chart rendered, held against schemas, and compared with what the program itself says."""
