package signal

// Standby tells a page that waits to be called how things are, whole at each change. Moments are milliseconds since 1970; 0: none.
type Standby struct {
	Type        string  `json:"type"`
	Instance    string  `json:"instance"`
	Room        RoomRef `json:"room"`
	Venue       string  `json:"venue"` // empty: of somebody who is not called
	VenueName   Text    `json:"venue_name"`
	Meeting     string  `json:"meeting"` // id of the one that is on; empty: none
	Title       string  `json:"title"`   // of the scheduled one that is on
	Present     int     `json:"present"` // how many are in it
	NextTitle   string  `json:"next_title"`
	NextAt      int64   `json:"next_at"`
	NextUntil   int64   `json:"next_until"`
	Called      bool    `json:"called"`
	CalledBy    Text    `json:"called_by"` // empty: the schedule calls
	CalledUntil int64   `json:"called_until"`
}
