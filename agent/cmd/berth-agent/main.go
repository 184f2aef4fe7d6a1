// Berth-agent is the first process of berth's containers.
//
//	berth-agent serve   is the agent itself
//	berth-agent join    connects its stdin and stdout to the agent of the container that it runs in
//	berth-agent wall    puts up the walls of a container's network; needs CAP_NET_ADMIN there
//	berth-agent guard   is started by serve, and helps it when it starts commands
//	berth-agent init    is the first process of a session's room, and starts the session's commands for the agent
//	berth-agent warden  opens rooms for the agents of a machine's containers
//	berth-agent room    is started by warden, and makes one room
//	berth-agent files   runs in a session's room, and serves the session's files
//	berth-agent credential  is called by git in a session's room, and asks the agent for a credential
//	berth-agent pack    runs in a session's room, and packs the session's work
//	berth-agent pack-added  runs in a session's room, and packs what it has added to the files of its commit
//	berth-agent unpack  runs in a new session's room, and unpacks the work of another session
//	berth-agent resume  runs in a session's room, and lets its processes continue that pack has stopped
//	berth-agent isolation   prints what the warden's rooms do
//	berth-agent version prints the protocol that it speaks
//
// Called by git, with BERTH_ASKPASS in its environment, it answers git's question for a credential. Called with BERTH_REACH, a
// host and a port, it is git's proxy command.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/berth-go/berth/agent/internal/credential"
	"github.com/berth-go/berth/agent/internal/daemon"
	"github.com/berth-go/berth/agent/internal/filetree"
	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/privacy"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/reach"
	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/warden"
	"github.com/berth-go/berth/agent/internal/wire"
	"github.com/berth-go/berth/agent/internal/work"
)

func init() { proc.Main() }

func main() {
	if os.Getenv(git.EnvAskpass) != "" && len(os.Args) == 2 {
		askpass()
		return
	}
	if reach.IsCommand(os.Args, os.Getenv) {
		if err := reach.Command(os.Args[1], os.Args[2], os.Getenv); err != nil {
			fmt.Fprintln(os.Stderr, "berth-agent:", err)
			os.Exit(1)
		}
		return
	}
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	var err error
	switch command {
	case "serve":
		err = serve(os.Args[2:])
	case "join":
		err = join(os.Args[2:])
	case "init":
		err = room.Init(os.NewFile(3, "control"))
	case "wall":
		err = putUpWalls(os.Args[2:])
	case "guard":
		proc.GuardForks(os.Stdin)
	case "warden":
		err = runWarden(os.Args[2:])
	case "room":
		err = warden.Enter(os.Args[2:])
	case "files":
		err = files(os.Args[2:])
	case "credential":
		err = helpGit(os.Args[2:])
	case "pack", "pack-added", "unpack", "resume":
		err = keepWork(command, os.Args[2:])
	case "isolation":
		err = isolation(os.Args[2:])
	case "version":
		fmt.Printf("berth-agent, protocol %d\n", wire.Protocol)
	default:
		err = errors.New("usage: berth-agent serve | join | wall | version")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "berth-agent:", err)
		if _, ok := errors.AsType[noWallsError](err); ok {
			os.Exit(wire.ExitNoWalls)
		}
		os.Exit(1)
	}
}

// askpass answers git, which asks for a credential.
func askpass() {
	if os.Args[1] != git.Helper { // git says what became of the credential
		return
	}
	answer, ok := git.Answer(os.Stdin, os.Getenv)
	if !ok {
		os.Exit(1)
	}
	mark := privacy.Mark{Dir: os.Getenv(git.EnvMirror), Lock: os.Getenv(git.EnvLock)}
	if err := mark.Disclose(); err != nil {
		fmt.Fprintln(os.Stderr, "berth-agent:", err) // git passes it on
		os.Exit(1)
	}
	fmt.Print(answer)
}

// files serves the files of the session that it runs in, relative to its checkout.
func files(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: berth-agent files CHECKOUT")
	}
	return filetree.Main(args[0], os.Stdin, os.Stdout)
}

// helpGit is git's credential helper in a session.
func helpGit(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: berth-agent credential SESSION-DIRECTORY get | store | erase")
	}
	return credential.Helper(args[0], args[1], os.Stdin, os.Stdout)
}

// keepWork packs or unpacks the work of the session that it runs in.
func keepWork(command string, args []string) error {
	runtime.GOMAXPROCS(2) // the threads are the session's, which may have few
	switch {
	case command == "pack" && len(args) == 3:
		return work.Pack(args[0], args[1], args[2], os.Stdout)
	case command == "pack-added" && len(args) == 0:
		return work.PackAdded(os.Stdin, os.Stdout)
	case command == "unpack" && len(args) == 1:
		return work.Unpack(args[0], os.Stdin)
	case command == "resume" && len(args) == 0:
		work.Resume(nil)
		return nil
	}
	return errors.New("usage: berth-agent pack CHECKOUT INDEX COMMIT | pack-added | unpack CHECKOUT | resume")
}

func serve(args []string) error {
	o := daemon.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	o.AddFlags(flags)
	wardenSocket := flags.String("warden", "", "the socket of the warden, which puts up the walls of the network and opens a room for each session; none = neither")
	policy := daemon.PolicyFlags(flags)
	flags.Parse(args)
	var err error
	if o.Egress, err = policy(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if *wardenSocket != "" {
		client := warden.Dial(*wardenSocket)
		if err := keepWalls(ctx, client, o); err != nil {
			return err
		}
		o.Rooms, o.Pin = client, client.Pin
	}
	return daemon.Run(ctx, o)
}
