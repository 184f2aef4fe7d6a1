package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-go/berth"
)

// A task is the work of a user on a repository.
type task struct {
	name, user, repo string

	session *berth.Session
	took    time.Duration // until CreateSession returned
}

// cast returns the tasks: two users on the first repository, and one on each other one. With a single repository, the third
// task is on it too.
func cast(repos []string) []*task {
	second := repos[min(1, len(repos)-1)]
	tasks := []*task{
		{name: "fix-login", user: "alice", repo: repos[0]},
		{name: "add-tests", user: "bob", repo: repos[0]},
		{name: "write-docs", user: "alice", repo: second},
	}
	for i := 2; i < len(repos); i++ {
		user := []string{"alice", "bob"}[i%2]
		tasks = append(tasks, &task{name: fmt.Sprintf("task-%d", i+2), user: user, repo: repos[i]})
	}
	return tasks
}

// tell tells the story.
func tell(ctx context.Context, out *printer, st *stage) error {
	tasks := cast(st.repos)
	if err := start(ctx, out, st, tasks); err != nil {
		return err
	}
	if err := share(ctx, out, st); err != nil {
		return err
	}
	if err := look(ctx, out, tasks); err != nil {
		return err
	}
	if err := pry(ctx, out, tasks[1], tasks[0]); err != nil {
		return err
	}
	return end(ctx, out, st, tasks)
}

// start creates the sessions one after another, and shows how each one started.
func start(ctx context.Context, out *printer, st *stage, tasks []*task) (err error) {
	unit := "MS"
	if st.simulated {
		unit = "MS (SIMULATED)"
	}
	rows := [][]string{{"TASK", "USER", "REPOSITORY", "START", unit, "CONTAINER"}}
	out.printf("\nStarting %d tasks\n", len(tasks))
	for _, t := range tasks {
		begun := time.Now()
		t.session, err = st.provider.CreateSession(ctx, berth.SessionRequest{
			TaskID: t.name, UserID: t.user, Repository: t.repo,
		})
		if err != nil {
			return err
		}
		t.took = time.Since(begun)
		info := t.session.Info()
		rows = append(rows, []string{
			t.name, t.user, info.Repository.Path, string(info.Start),
			strconv.FormatInt(t.took.Milliseconds(), 10), info.Container.Name,
		})
	}
	out.printf("\n")
	out.table(rows)
	return nil
}

// share shows the tasks of each container.
func share(ctx context.Context, out *printer, st *stage) error {
	who := make(map[string][]string) // by container
	for s, err := range st.provider.ListSessions(ctx, berth.SessionFilter{}) {
		if err != nil {
			return err
		}
		info := s.Info()
		who[info.Container.ID] = append(who[info.Container.ID], info.UserID+"'s "+info.TaskID)
	}
	var rows [][]string
	for r, err := range st.provider.Repositories(ctx) {
		if err != nil {
			return err
		}
		slices.Sort(who[r.Container.ID])
		rows = append(rows, []string{r.Container.Name, strconv.Itoa(r.Tasks), strings.Join(who[r.Container.ID], ", ")})
	}
	slices.SortFunc(rows, slices.Compare)
	out.table(slices.Insert(rows, 0, []string{"CONTAINER", "TASKS", "SHARED BY"}))
	return nil
}

// look runs a command in each session. Sessions in one container have the same host name. Each has its own uid and checkout.
func look(ctx context.Context, out *printer, tasks []*task) error {
	rows := [][]string{{"TASK", "UID", "HOST NAME", "DIRECTORY", "LAST COMMIT"}}
	for _, t := range tasks {
		b, err := t.session.Command(ctx, "sh", "-c", "id -u; hostname; pwd; git log -1 --format=%s").Output()
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		rows = append(rows, append([]string{t.name}, strings.Split(strings.TrimSpace(string(b)), "\n")...))
	}
	out.printf("A command in each: id -u; hostname; pwd; git log -1 --format=%%s\n\n")
	out.table(rows)
	return nil
}

// pry shows that a task cannot look into the checkout of another one in its container.
func pry(ctx context.Context, out *printer, t, neighbour *task) error {
	dir := neighbour.session.Info().Workdir
	b, err := t.session.Command(ctx, "ls", dir).CombinedOutput()
	if failure := (*berth.ExitError)(nil); err != nil && !errors.As(err, &failure) || errors.Is(err, berth.ErrOutputCut) {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	out.printf("%s looks into %s's checkout, in the same container\n\n  %s\n\n", t.name, neighbour.name, strings.TrimSpace(string(b)))
	return nil
}

// end ends the tasks one by one, and lists the engine's containers each time.
func end(ctx context.Context, out *printer, st *stage, tasks []*task) error {
	rows := [][]string{{"ENDED", "MS", "CONTAINERS BY " + st.asked}}
	for _, t := range tasks {
		begun := time.Now()
		if err := st.provider.TerminateSession(ctx, t.session.ID()); err != nil {
			return err
		}
		took := time.Since(begun)
		names, err := st.things(ctx, false)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			names = []string{"none"}
		}
		rows = append(rows, []string{t.name, strconv.FormatInt(took.Milliseconds(), 10), strings.Join(names, ", ")})
	}
	out.printf("Ending the tasks; the last one of a container takes it along\n\n")
	out.table(rows)
	return nil
}
