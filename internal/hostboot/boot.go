package hostboot

import (
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// files are written on the machine by the user data. The programs among them are the same on all machines: values that
// differ are in /etc/berth/env.
//
//go:embed files
var files embed.FS

// endOfFile ends each file in the user data. It occurs nowhere else.
const endOfFile = "END-OF-BERTH-FILE"

// Boot makes the identity of a launch, and the user data that gives it to the machine. The user data is a secret: it
// holds the private key of the machine's engine. trust is not secret. The error joins the errors of all options.
func Boot(o Options) (userData []byte, trust string, err error) {
	o = o.withDefaults()
	daemon, err := daemonJSON(o)
	faults := errors.Join(o.validate(), err)
	id, err := newIdentity(o.LaunchID, o.MaxAge)
	if err != nil {
		return nil, "", errors.Join(faults, fmt.Errorf("hostboot: making the identity of launch %s: %w", o.LaunchID, err))
	}
	b, err := script(o, id, daemon)
	faults = errors.Join(faults, err)
	if len(b) > MaxUserData {
		b = packed(b)
	}
	if over := len(b) - MaxUserData; over > 0 {
		field := "Extra"
		if len(daemon) > len(o.Extra) {
			field = "Daemon"
		}
		faults = errors.Join(faults, o.unfit(field, "makes the user data %d bytes too long: EC2 takes %d, and this has %d when it is compressed. Before, the script has %d and "+
			"daemon.json %d", over, MaxUserData, len(b), len(o.Extra), len(daemon)))
	}
	if faults != nil {
		return nil, "", faults
	}
	return b, string(id.trust), nil
}

// script returns the user data: its head, one here-document per file, and its tail.
func script(o Options, id identity, daemon []byte) ([]byte, error) {
	var b bytes.Buffer
	var faults []error
	put := func(mode, path string, content []byte) {
		if bytes.Contains(content, []byte(endOfFile)) {
			faults = append(faults, o.unfit(fieldOf[path], "becomes %s, and has the line %q, which is reserved", path, endOfFile))
		}
		content = bytes.TrimSuffix(content, []byte("\n"))
		fmt.Fprintf(&b, "put %s %s <<'%s'\n%s\n%s\n", mode, path, endOfFile, content, endOfFile)
	}
	const units, programs = "/etc/systemd/system/", "/usr/local/sbin/"

	b.Write(file("head.sh"))
	put("0600", tlsDir+"/client-ca.pem", o.ClientCA)
	put("0600", tlsDir+"/server.pem", id.cert)
	put("0600", tlsDir+"/server-key.pem", id.key)
	put("0644", "/etc/berth/env", env(o))
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
		put("0644", units+"berth-dead-man.timer", bytes.ReplaceAll(file("berth-dead-man.timer"), []byte("EVERY"), []byte(seconds(look(o.DeadMan)))))
	}
	if o.quotas() {
		put("0755", programs+"berth-disk", file("berth-disk"))
		put("0644", units+"berth-disk.service", bytes.ReplaceAll(file("berth-disk.service"), []byte("VOLUMES"), []byte(o.volumes())))
	}
	b.Write(file("tail.sh"))
	return b.Bytes(), errors.Join(faults...)
}

// packed compresses user data. cloud-init unpacks it.
func packed(script []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is a valid one
	w.Write(script)
	w.Close() // a buffer takes everything
	return b.Bytes()
}

// env returns the environment of the programs on the machine.
func env(o Options) []byte {
	text := fmt.Appendf(nil, "BERTH_POOL=%s\nBERTH_LAUNCH=%s\nBERTH_DEAD_MAN=%s\n", o.Pool, o.LaunchID, seconds(o.DeadMan))
	if o.quotas() {
		text = fmt.Appendf(text, "BERTH_VOLUMES=%s\nBERTH_DISK=%s\nBERTH_DISK_GIB=%d\n", o.volumes(), o.Disk, o.DiskGiB)
	}
	return text
}

// fieldOf are the fields of Options that become files, by path.
var fieldOf = map[string]string{"/etc/berth/extra": "Extra", "/etc/berth/daemon.json": "Daemon", tlsDir + "/client-ca.pem": "ClientCA"}

func file(name string) []byte {
	content, err := files.ReadFile("files/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	return content
}

// look returns how often a machine looks for a touch: every five minutes, or more often if deadMan is short.
func look(deadMan time.Duration) time.Duration {
	return min(max(deadMan/5, time.Second), 5*time.Minute)
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }
