// Package trunk knows the ways to other networks.
package trunk
