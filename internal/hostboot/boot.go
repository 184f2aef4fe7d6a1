package hostboot

import (
	"bytes"
	"embed"
	"fmt"
	"strconv"
	"time"
)

// files are what the user data writes on the machine. Those that are programs are constant: what differs between
// machines stands in /etc/berth/env.
//
//go:embed files
var files embed.FS

// endOfFile ends each file in the user data. It stands nowhere else.
const endOfFile = "END-OF-BERTH-FILE"

// Boot makes the identity of a launch, and the user data that gives it to the machine. The user data is a secret: it
// holds the private key of the machine's engine. trust is none.
func Boot(o Options) (userData []byte, trust string, err error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, "", err
	}
	daemon, err := daemonJSON(o)
	if err != nil {
		return nil, "", err
	}
	id, err := newIdentity(o.LaunchID, o.MaxAge)
	if err != nil {
		return nil, "", fmt.Errorf("hostboot: making the identity of launch %s: %w", o.LaunchID, err)
	}
	b, err := script(o, id, daemon)
	if err != nil {
		return nil, "", err
	}
	if over := len(b) - MaxUserData; over > 0 {
		return nil, "", fmt.Errorf("hostboot: the user data is %d bytes too long: EC2 takes %d, and this has %d, of which Extra has %d and daemon.json %d",
			over, MaxUserData, len(b), len(o.Extra), len(daemon))
	}
	return b, string(id.trust), nil
}

// script puts the user data together: its head, one here-document per file, its tail.
func script(o Options, id identity, daemon []byte) ([]byte, error) {
	var b bytes.Buffer
	var err error
	put := func(mode, path string, content []byte) {
		if bytes.Contains(content, []byte(endOfFile)) {
			err = fmt.Errorf("hostboot: what becomes %s has the line %q, which is not free", path, endOfFile)
		}
		content = bytes.TrimSuffix(content, []byte("\n"))
		fmt.Fprintf(&b, "put %s %s <<'%s'\n%s\n%s\n", mode, path, endOfFile, content, endOfFile)
	}
	const units, programs = "/etc/systemd/system/", "/usr/local/sbin/"

	b.Write(file("head.sh"))
	put("0600", tlsDir+"/client-ca.pem", o.ClientCA)
	put("0600", tlsDir+"/server.pem", id.cert)
	put("0600", tlsDir+"/server-key.pem", id.key)
	put("0644", "/etc/berth/env", fmt.Appendf(nil, "BERTH_POOL=%s\nBERTH_LAUNCH=%s\nBERTH_DEAD_MAN=%s\n", o.Pool, o.LaunchID, seconds(o.DeadMan)))
	put("0644", "/etc/berth/daemon.json", daemon)
	put("0644", "/etc/berth/docker.conf", file("docker.conf"))
	if o.Extra != "" {
		put("0600", "/etc/berth/extra", []byte(o.Extra))
	}
	for _, name := range []string{"berth-boot", "berth-firewall", "berth-notice"} {
		put("0755", programs+name, file(name))
	}
	put("0644", units+"berth-boot.service", bytes.ReplaceAll(file("berth-boot.service"), []byte("DEADLINE"), []byte(seconds(o.BootDeadline))))
	put("0644", units+"berth-notice.service", file("berth-notice.service"))
	if o.DeadMan > 0 {
		put("0755", programs+"berth-dead-man", file("berth-dead-man"))
		put("0644", units+"berth-dead-man.service", file("berth-dead-man.service"))
		put("0644", units+"berth-dead-man.timer", file("berth-dead-man.timer"))
	}
	b.Write(file("tail.sh"))
	return b.Bytes(), err
}

func file(name string) []byte {
	content, err := files.ReadFile("files/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	return content
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
