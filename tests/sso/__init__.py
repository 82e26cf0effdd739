"""`make sso`: the pod of the view as the chart renders it, behind a real oauth2-proxy and OpenID Connect provider."""
