package git

import "testing"

func TestConnections(t *testing.T) {
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	row := func(state, uid string) string {
		return "   0: 0100007F:A1B2 0200000A:01BB " + state + " 00000000:00000001 01:00000045 00000002  " + uid + "        0 6543 2 0000000000000000 800 0 0 1 7\n"
	}
	for name, c := range map[string]struct {
		table       string
		waiting, up bool
	}{
		"none":                    {head, false, false},
		"no table":                {"", false, false},
		"another's":               {head + row("02", "10001") + row("01", "0"), false, false},
		"one that waits":          {head + row("01", "0") + row("02", "9999"), true, false},
		"one of two is there":     {head + row("02", "9999") + row("01", "9999"), true, true},
		"one is there":            {head + row("01", "9999"), false, true},
		"closed":                  {head + row("06", "9999") + row("08", "9999"), false, false},
		"a line that is cut":      {head + row("02", "9999")[:40], false, false},
		"of a uid that begins so": {head + row("02", "99990"), false, false},
	} {
		if waiting, up := connections(c.table, 9999); waiting != c.waiting || up != c.up {
			t.Errorf("%s: %v, %v", name, waiting, up)
		}
	}
}
