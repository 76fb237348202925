// Package test drives the real binaries end to end with real clients: SIPp, baresip and linphone for phones, Chromium and
// Firefox for rooms, network namespaces for leased lines. Every test starts its own appliance on free ports with its own
// data directory and ends what it started by process id. `make e2e` builds the binaries and runs it; tests whose name
// begins with TestSoak run only under `make soak`.
package test
