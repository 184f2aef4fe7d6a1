package place

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/room"
)

// checkAccounts refuses an image that uses one of berth's uids or gids. A session that got such a uid would own the image's files,
// and the session's end would remove the image's account.
func checkAccounts(etc string) error {
	for _, name := range []string{"passwd", "group"} {
		text, err := os.ReadFile(filepath.Join(etc, name))
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
			if len(fields) < 3 {
				continue
			}
			id, err := strconv.Atoi(fields[2])
			if err != nil || !reserved(id) || fields[0] == userName(id) || fields[0] == mirrorName {
				continue
			}
			return fmt.Errorf("the image cannot be used: its /etc/%s gives the id %d to %q. The ids from %d to %d belong to "+
				"berth and its sessions. Give %q another one in the image", name, id, fields[0], firstUID, MaxUID, fields[0])
		}
	}
	return nil
}

// firstUID is the lowest that berth uses: that of the caches' layers, the mirror's, and the one that no process has come before the
// sessions'.
const firstUID = min(room.LayerUID, proc.Unused, mirror.UID, MinUID)

func reserved(id int) bool { return firstUID <= id && id <= MaxUID }

// The names of our own accounts.
const mirrorName = "berth-mirror"

func userName(uid int) string { return fmt.Sprintf("berth%d", uid) }
