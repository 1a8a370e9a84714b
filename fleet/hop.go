package fleet

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/xerrors"
)

// A gateway tells a node what it wants in the ID of the command: owners, names and IDs. Nodes believe gateways alone.

// hop is what a gateway asks of a node.
type hop struct {
	Owner string `json:"owner"`
	// Name is the session's, if the client gave a name.
	Name string `json:"name,omitempty"`
	// ID is the session's. It is empty for a start.
	ID string `json:"id,omitempty"`
	// Revision is the revision of the claim that the gateway knows. The claim says that the name belongs to the ID.
	Revision int64 `json:"revision,omitempty"`
	// Replace and LostAt are those of a ClaimRequest.
	Replace         *Claim `json:"replace,omitempty"`
	ReplaceRevision int64  `json:"replace_revision,omitempty"`
	LostAt          int64  `json:"lost_at,omitempty"`
}

// hopPrefix does not look like an ID with an owner.
const hopPrefix = "fleet "

func (h hop) String() string {
	if h.Replace != nil {
		h.ReplaceRevision = h.Replace.Revision
	}
	text, _ := json.Marshal(h) // It never fails.
	return hopPrefix + string(text)
}

func parseHop(text string) (h hop, err error) {
	rest, ok := strings.CutPrefix(text, hopPrefix)
	if !ok {
		return h, xerrors.Errorf("not from a gateway of the fleet: %w", fs.ErrPermission)
	}
	if err := json.Unmarshal([]byte(rest), &h); err != nil {
		return h, xerrors.Errorf("not from a gateway of the fleet: %w", err)
	}
	if h.Replace != nil {
		h.Replace.Revision = h.ReplaceRevision
	}
	return h, nil
}

// splitOwned parts what a wsep.Server makes of an owner and the ID that the client gave: LENGTH:OWNER:ID, or the ID alone if there is
// no owner.
func splitOwned(text string) (owner, id string) {
	length, rest, ok := strings.Cut(text, ":")
	n, err := strconv.Atoi(length)
	if !ok || err != nil || !ownedPattern.MatchString(text) || n >= len(rest) || rest[n] != ':' {
		return "", text
	}
	return rest[:n], rest[n+1:]
}

// joinOwned is the inverse of splitOwned.
func joinOwned(owner, id string) string {
	if owner == "" && !ownedPattern.MatchString(id) {
		return id
	}
	return fmt.Sprintf("%d:%s:%s", len(owner), owner, id)
}

var ownedPattern = regexp.MustCompile(`^[0-9]+:`)
