// Command echo_extender answers kube-scheduler's filter and prioritize calls without any policy.
//
// It decodes the request with the real Go types, as every extender written in Go must, lets every node pass and gives
// every node the same score: no Go extender can be faster. The benchmarks time it beside ours.
package main

import (
	"encoding/json"
	"flag"
	"log"
	"net/http"

	extender "k8s.io/kube-scheduler/extender/v1"
)

func decode(w http.ResponseWriter, r *http.Request) *extender.ExtenderArgs {
	var args extender.ExtenderArgs
	if err := json.NewDecoder(r.Body).Decode(&args); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return nil
	}
	return &args
}

func reply(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		log.Print(err)
	}
}

func filter(w http.ResponseWriter, r *http.Request) {
	if args := decode(w, r); args != nil {
		reply(w, extender.ExtenderFilterResult{Nodes: args.Nodes, NodeNames: args.NodeNames})
	}
}

func names(args *extender.ExtenderArgs) []string {
	if args.NodeNames != nil {
		return *args.NodeNames
	}
	var found []string
	if args.Nodes != nil {
		for i := range args.Nodes.Items {
			found = append(found, args.Nodes.Items[i].Name)
		}
	}
	return found
}

func prioritize(w http.ResponseWriter, r *http.Request) {
	if args := decode(w, r); args != nil {
		scores := extender.HostPriorityList{}
		for _, name := range names(args) {
			scores = append(scores, extender.HostPriority{Host: name, Score: 5})
		}
		reply(w, scores)
	}
}

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	flag.Parse()
	http.HandleFunc("/filter", filter)
	http.HandleFunc("/prioritize", prioritize)
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	log.Fatal(http.ListenAndServe(*address, nil))
}
