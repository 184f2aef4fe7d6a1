package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// check refuses an entry that Pack does not write, before anything is made of it. It returns the entry's extended attributes.
func check(h *tar.Header, name string) (attributes map[string]string, err error) {
	bad := func(reason string, args ...any) (map[string]string, error) {
		return nil, fmt.Errorf("%w: %s", ErrUnsafe, fmt.Sprintf(reason, args...))
	}
	if !fs.ValidPath(name) || strings.ContainsRune(name, 0) { // no absolute one, no "..", no empty element
		return bad("its name is not a path in the tree")
	}
	if len(name) > maxPath {
		return bad("its path has %d bytes", len(name))
	}
	for element := range strings.SplitSeq(name, "/") {
		if len(element) > maxName {
			return bad("its name has %d bytes", len(element))
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if strings.HasSuffix(h.Name, "/") {
			return bad("a file with the name of a directory")
		}
	case tar.TypeDir, tar.TypeLink, tar.TypeSymlink:
		if h.Size != 0 {
			return bad("it has %d bytes, and is no file", h.Size)
		}
	default:
		return bad("a file of the type %q", h.Typeflag)
	}
	if h.Typeflag == tar.TypeSymlink && (h.Linkname == "" || len(h.Linkname) > maxPath || strings.ContainsRune(h.Linkname, 0)) {
		return bad("a symbolic link to %d bytes", len(h.Linkname))
	}
	if base := name[strings.LastIndex(name, "/")+1:]; h.Typeflag != tar.TypeReg && strings.HasPrefix(base, whiteout) {
		return bad("a whiteout that is no file")
	}
	if place, ok := h.PAXRecords[redirRecord]; ok {
		if err := checkRedirect(place); err != nil || h.Typeflag != tar.TypeDir {
			return bad("the redirect %.100q", place)
		}
	}
	for record, value := range h.PAXRecords {
		attribute, ok := strings.CutPrefix(record, xattrRecord)
		if !ok {
			continue
		}
		if !strings.HasPrefix(attribute, userXattr) || strings.HasPrefix(attribute, overlayXattrs[1]) || len(attribute) > maxName || len(value) > maxXattr {
			return bad("it has the attribute %.100q", attribute)
		}
		if attributes == nil {
			attributes = make(map[string]string)
		}
		attributes[attribute] = value
	}
	if len(attributes) > 0 && h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
		return bad("a link with attributes")
	}
	return attributes, nil
}

// checkRedirect returns an error for a redirect that no overlay has written: it is a name, for what was in the same directory, or a path
// from the top of the mount.
func checkRedirect(place string) error {
	path, absolute := strings.CutPrefix(place, "/")
	if !fs.ValidPath(path) || path == "." || !absolute && strings.Contains(path, "/") || len(place) > maxPath || strings.ContainsRune(place, 0) {
		return errors.New("no redirect")
	}
	return nil
}

// plain refuses what Options.Plain does, and makes the modes what it says.
func plain(h *tar.Header, name string) error {
	for record := range h.PAXRecords {
		if strings.HasPrefix(record, xattrRecord) || record == redirRecord {
			return fmt.Errorf("%w: it has the attribute %.100q", ErrUnsafe, record)
		}
	}
	if strings.HasPrefix(name[strings.LastIndex(name, "/")+1:], whiteout) {
		return fmt.Errorf("%w: a whiteout", ErrUnsafe)
	}
	switch h.Typeflag {
	case tar.TypeReg:
		h.Mode = h.Mode&0o755 | 0o400
	case tar.TypeDir:
		h.Mode = h.Mode&0o755 | 0o500
	}
	return nil
}
