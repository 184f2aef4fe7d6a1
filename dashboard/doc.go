// Package dashboard shows a pool in a browser: its repositories and their containers, its tasks, instances, queue, events and
// bill. [Handler] returns an http.Handler that a program mounts below any prefix:
//
//	mux := http.NewServeMux()
//	mux.Handle("/berth/", http.StripPrefix("/berth", dashboard.Handler(p, dashboard.Options{})))
//
// Everything is embedded: the pages load nothing from elsewhere, and a strict Content-Security-Policy says so. They work
// without JavaScript. With it, they follow the pool by themselves. The same data is JSON below api/.
//
// It shows the records of the store, so that each process of a pool shows the whole pool. All viewers of a Handler share one
// model in memory, which follows the records that change while it is looked at, and is dropped later.
//
// The Handler admits each request, so all who reach it see the pool. Put it behind what authenticates your users. Options say what a
// viewer sees, and what a viewer may do. docs/dashboard.md has the details.
package dashboard
