// Package gobgp4 is nothing to build: it keeps the official protos of GoBGP 3 in go.mod, which the tests compare with.
package gobgp4

import _ "github.com/osrg/gobgp/v3/api"
