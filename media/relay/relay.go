package relay

type Relay struct{}
