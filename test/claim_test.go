package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A phone that nobody has entered comes out of its box while the window of its site is open: it is lent a number, somebody
// dials the code and an extension at it, and it becomes that extension. A broken phone is replaced in one step.
func (a *appliance) phonesAreClaimed(t *testing.T, list string) {
	t.Helper()
	before, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	unpack := func(mac string, host int) *process {
		return startProcess(t, ".", filepath.Join(repository, "bin", "linesim"), "phone", "--brand", "fanvil", "--model", "X4U", "--mac", mac,
			"--bind", fmt.Sprintf("127.0.0.%d", host), "--url", fmt.Sprintf("http://127.0.0.1:%d/", a.ports.provisioning))
	}
	says := func(p *process, what string) {
		t.Helper()
		a.eventually(30*time.Second, what, func() error {
			if out := p.output.String(); !strings.Contains(out, what) {
				return fmt.Errorf("it says: %s", out)
			}
			return nil
		})
	}
	fresh := unpack("0c:38:3e:00:00:99", 91)
	says(fresh, "8079 registered")
	if out := a.run("terminal", "list", "--unknown"); strings.Contains(out, "0c:38:3e:00:00:99") {
		t.Errorf("the phone is still unknown: %s", out)
	}
	at := a.handset(t, "8079", "127.0.0.92", "UDP")
	at.register()
	refused(t, at, "*498001", at.sdp(4490), 403, "8001") // that has a phone
	call := at.begin("INVITE", "*498080", at.sdp(4490))
	call.acknowledge(at.response("INVITE", 200), "")
	at.reply(at.request("BYE"), "200 OK", "", "")
	at.reply(at.request("NOTIFY"), "200 OK", "", "") // it is the same extension's phone, as far as anybody knows
	says(fresh, "8080 registered")
	want := strings.Replace(string(before), ",,hq,8080,", "0c:38:3e:00:00:99,X4U,hq,8080,", 1)
	if rows, err := os.ReadFile(list); err != nil || string(rows) != want {
		t.Errorf("the list afterwards, %v:\n%s", err, rows)
	}
	if out, _, code := a.try("plan"); code != 0 {
		t.Errorf("after the claim: exit %d\n%s", code, out)
	}

	if _, errOut, code := a.try("terminal", "claim", "0c:38:3e:00:00:98", "8080"); code != 1 || !strings.Contains(errOut, "terminal replace") {
		t.Errorf("an extension that has a phone: exit %d, %s", code, errOut)
	}
	if _, errOut, code := a.try("terminal", "claim", "0c:38:3e:00:00:98", "80x"); code != 1 {
		t.Errorf("no number: exit %d, %s", code, errOut)
	}
	a.run("terminal", "close", "--site", "hq") // the new phone is expected all the same
	a.run("terminal", "replace", "8080", "0C-38-3E-00-00-98", "--model", "X4U")
	fresh.stop()
	says(unpack("0c:38:3e:00:00:98", 93), "8080 registered")
	if rows, err := os.ReadFile(list); err != nil || string(rows) != strings.Replace(want, "0c:38:3e:00:00:99", "0c:38:3e:00:00:98", 1) {
		t.Errorf("the list after the replacement, %v:\n%s", err, rows)
	}
	a.run("apply") // it was told nothing: it came by itself
	a.run("terminal", "open", "--site", "hq")
}
