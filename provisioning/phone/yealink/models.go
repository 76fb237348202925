package yealink

import "strings"

// model is what differs between models in the files we write.
type model struct {
	name   string
	number string // in the name of its common file
	lines  int    // accounts; 0 = unknown, then only the second one is cleared
}

// models are the desk phones by the number of their common file. The number
// is not that of the firmware: T53, T54W and T57W all run 96.x.
func models() []model {
	return []model{
		{"T19P_E2", "53", 1},
		{"T21P_E2", "52", 2},
		{"T23", "44", 3},
		{"T27G", "69", 6},
		{"T27P", "45", 6},
		{"T29G", "46", 16},
		{"T31G", "123", 2},
		{"T31P", "123", 2},
		{"T31W", "172", 2},
		{"T33G", "124", 4},
		{"T34W", "171", 4},
		{"T40P", "54", 3},
		{"T40G", "76", 3},
		{"T41P", "36", 6},
		{"T41S", "68", 6},
		{"T42G", "29", 12},
		{"T42S", "67", 12},
		{"T42U", "116", 12},
		{"T43U", "107", 12},
		{"T44W", "174", 12},
		{"T46G", "28", 16},
		{"T46S", "66", 16},
		{"T46U", "108", 16},
		{"T48G", "35", 16},
		{"T48S", "65", 16},
		{"T48U", "109", 16},
		{"T49G", "51", 16},
		{"T52S", "74", 12},
		{"T53", "95", 12},
		{"T53W", "95", 12},
		{"T54S", "70", 16},
		{"T54W", "96", 16},
		{"T56A", "56", 16},
		{"T57W", "97", 16},
		{"T58A", "58", 16},
		{"T58V", "58", 16},
		{"T58W", "150", 16},
		{"VP59", "91", 16},
		{"T73U", "186", 0},
		{"T73W", "183", 0},
		{"T74U", "187", 0},
		{"T74W", "184", 0},
		{"T77U", "188", 0},
		{"T85W", "196", 0},
		{"T87W", "197", 0},
		{"T88", "192", 0},
		{"CP920", "78", 1},
		{"CP925", "148", 1},
		{"CP960", "73", 1},
		{"CP965", "143", 1},
	}
}

// modelByNumber names the first model of a common file's number.
func modelByNumber(number string) (string, bool) {
	for _, m := range models() {
		if m.number == number {
			return m.name, true
		}
	}
	return "", false
}

// linesOf returns how many accounts the model has; for one we do not know it
// is two, so that at least a stale second account is cleared.
func linesOf(name string) int {
	name = strings.TrimPrefix(strings.ToUpper(name), "SIP-")
	for _, m := range models() {
		if m.name == name && m.lines > 0 {
			return m.lines
		}
	}
	return 2
}
