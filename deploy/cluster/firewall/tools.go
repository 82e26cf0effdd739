//go:build tools

// Package firewall names what `make cluster` builds from this module: kube-router, which enforces network policies.
package firewall

import _ "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
