#include "cli/command_table.h"

#include <array>

namespace isla::cli {
namespace {

constexpr std::array<CommandText, 16> kCommands{{
    {"apply", "apply -f FILENAME [flags]", "Create or change objects from manifests",
     "Make the objects in the manifests exist as they say: create what is missing, change what "
     "differs.\n\n"
     "The manifest as it was applied is kept in an annotation, the one that kubectl uses, so that "
     "a field that is\n"
     "removed from the manifest is removed from the object, and fields set by others stay. isla "
     "and kubectl can be\n"
     "used on the same object in turn. Manifests are JSON; a file may hold several, and lists of "
     "objects.",
     "  # Apply one manifest\n"
     "  isla apply -f hello.json\n\n"
     "  # Apply every .json file in a folder and those below\n"
     "  isla apply -R -f manifests/\n\n"
     "  # Apply what another program prints\n"
     "  generate | isla apply -f -\n\n"
     "  # Ask the server what it would do\n"
     "  isla apply -f hello.json --dry-run=server"},
    {"create", "create -f FILENAME [flags]", "Create objects from manifests",
     "Create the objects in the manifests. It is an error if one exists already. "
     "metadata.generateName is allowed.",
     "  # Create a session\n"
     "  isla create -f hello.json"},
    {"get",
     "get [(-o|--output=)json|yaml|name|wide|jsonpath=...] (TYPE [NAME ... | -l label] | TYPE/NAME "
     "...) [flags]",
     "Show objects in a table, or whole",
     "Show one or many objects. The columns of the table come from the server.\n\n"
     "TYPE is the plural, singular or short name of a type, a comma separated list of them, or "
     "'all'. With -w the\n"
     "table is followed by a row for each change; a restart of the server doesn't end it.",
     "  # All sessions of the namespace\n"
     "  isla get sessions\n\n"
     "  # One session as JSON\n"
     "  isla get session hello -o json\n\n"
     "  # Sessions and nodes, with more columns\n"
     "  isla get sessions,nodes -o wide\n\n"
     "  # Sessions of all namespaces with a label, and their changes from now on\n"
     "  isla get se -A -l team=blue -w"},
    {"describe", "describe (TYPE [NAME ... | -l label] | TYPE/NAME ...) [flags]",
     "Show all about objects, for people",
     "Show everything that is known about objects: what was asked for, conditions, containers, and "
     "the history of\n"
     "phases with their times.",
     "  # A session\n"
     "  isla describe session hello\n\n"
     "  # All nodes\n"
     "  isla describe nodes"},
    {"delete", "delete ([-f FILENAME] | TYPE [(NAME | -l label | --all)]) [flags]",
     "Delete objects",
     "Delete objects, and wait until they are gone. A session that runs is ended first: SIGTERM, "
     "then SIGKILL after its\n"
     "grace period.",
     "  # Delete a session\n"
     "  isla delete session hello\n\n"
     "  # Delete what is in a manifest\n"
     "  isla delete -f hello.json\n\n"
     "  # Delete all sessions of a namespace, and don't wait\n"
     "  isla delete sessions --all -n demo --wait=false\n\n"
     "  # Give it one second to end\n"
     "  isla delete session hello --now"},
    {"logs", "logs [-f] (SESSION | TYPE/NAME) [flags]", "Print what a session wrote",
     "Print what a session wrote to its standard output and standard error. With -f, go on until "
     "the session ends; a\n"
     "broken connection is made again, and goes on where it stopped.",
     "  # Everything so far\n"
     "  isla logs hello\n\n"
     "  # The last 20 lines, and what follows\n"
     "  isla logs -f --tail=20 hello\n\n"
     "  # The last hour, with times\n"
     "  isla logs --since=1h --timestamps session/hello"},
    {"wait",
     "wait (TYPE/NAME ... | TYPE (NAME | -l label | --all)) "
     "--for=(delete|condition=NAME[=VALUE]|phase=PHASE|jsonpath=EXPR[=VALUE]) [flags]",
     "Wait for a condition of objects",
     "Wait until objects are in a state. Exits 1 if that doesn't happen in time (--timeout), or "
     "can't happen any more.",
     "  # Until a session runs\n"
     "  isla wait session/hello --for=condition=Ready\n\n"
     "  # Until it has ended, well or not\n"
     "  isla wait session/hello --for=condition=Finished --timeout=10m\n\n"
     "  # Until it has ended well\n"
     "  isla wait session/hello --for=phase=Succeeded\n\n"
     "  # Until it is gone\n"
     "  isla wait session/hello --for=delete"},
    {"run", "run [flags] -- COMMAND [args...]", "Run a command in a new session",
     "Create a session, follow its output, and exit with its status: 128 + N if signal N ended it, "
     "124 if it ran out of time,\n"
     "127 if the command is not in the container, 126 if it can't be executed, 125 if anything else failed (the flags, "
     "the server, the start, the node).\n"
     "Ctrl-C and SIGTERM end isla, not the session, and it says how to come back to it.",
     "  # Run a command\n"
     "  isla run -- uname -a\n\n"
     "  # With limits, and without a trace afterwards\n"
     "  isla run --rm --cpu=500m --memory=64Mi --timeout=1m -- sh -c 'echo hello; sleep 3'\n\n"
     "  # With a folder of the node, read-only\n"
     "  isla run --mount=/srv/data:/data -- ls /data"},
    {"version", "version [--client] [-o json|yaml]", "Print the versions of isla and of the server",
     "Print the version of this program and of the server.", "  isla version"},
    {"api-resources", "api-resources [-o wide|name] [--no-headers]",
     "Print the types of objects that the server has",
     "Print the types of objects that the server has.", "  isla api-resources"},
    {"config",
     "config (get NAME | set NAME=VALUE... | unset NAME... | list [--schema] | explain [NAME]) [--group=G | --node=N] "
     "[flags]\n  isla config (view | current-context | get-contexts) [--raw]",
     "Show and change the settings of the cluster, its groups and nodes",
     "Show and change settings: of the whole cluster, of a group of nodes (--group), of one node (--node). A node's own "
     "settings\n"
     "go before its group's, those before the cluster's. They apply while everything runs.\n\n"
     "get and list show what is set in that scope; explain shows what holds there, and where it comes from. set and "
     "unset\n"
     "change all that they name, or nothing; with --resource-version only if nobody else has. VALUE is JSON, or else a\n"
     "string.\n\n"
     "view, current-context and get-contexts are about this user's config file; secrets are left out unless --raw is\n"
     "given. It is read from --kubeconfig, $ISLA_CONFIG, ~/.isla/config or /var/lib/isla/islad/kubeconfig, the first that\n"
     "exists: a kubeconfig, as JSON.",
     "  # The settings that exist\n"
     "  isla config list --schema\n\n"
     "  # See more of what one node does, then no more\n"
     "  isla config set agent/log/level=debug --node=n1\n"
     "  isla config unset agent/log/level --node=n1\n\n"
     "  # Keep more output of the containers of a group, all at once\n"
     "  isla config set agent/log/maxBytes=67108864 agent/log/nodeMaxBytes=8589934592 --group=gpu\n\n"
     "  # What holds for a node, and why\n"
     "  isla config explain agent/log --node=n1\n\n"
     "  # Follow the changes of a node's settings\n"
     "  isla config list -w --node=n1\n\n"
     "  # This user's config file\n"
     "  isla config view"},
    {"store",
     "store export FILE [--seal]\n  isla store import FILE [--replace] [--keep-invalid] [--dry-run=server]\n"
     "  isla store unseal\n  isla store (list [PREFIX] | get KEY) [-o json]\n"
     "  isla store put KEY -f FILE [--revision=N] [--force] [--dry-run=server]",
     "Back the store up, move it to another, repair single keys",
     "Back up what islad has in its store, move it to another store (from one machine's own to etcd, or back), and look at\n"
     "and repair single keys. For administrators: root, islad's own user, or the token of its kubeconfig. FILE may be -.\n\n"
     "export writes every key at one revision, and import puts them into an empty store; revisions, leases and what else\n"
     "belongs to processes don't move. The file holds everything, secrets too: it is readable by its owner only. It is\n"
     "checked whole before anything is written, and an import that broke off leaves the store closed until it is repeated.\n\n"
     "To move a cluster: export --seal, which closes the store, so that nothing happens in it after; stop islad; start it\n"
     "on the other store; import. The containers of the nodes run on all the while, and their agents are told of them by\n"
     "the new store. 'unseal' opens a sealed store again, if the move is given up.\n"
     "A backup is an export without --seal; importing it is a restore: what happened since isn't known, containers that were\n"
     "started since are kept as orphans of their nodes, and no incarnation of a session is started twice.\n\n"
     "put writes one key as it is, past all rules of the API but with the checks of its class. Without --revision it makes a\n"
     "key that isn't there.",
     "  # A backup\n"
     "  isla store export /var/backups/isla.jsonl\n\n"
     "  # Is that file whole, and what would importing it do?\n"
     "  isla store import /var/backups/isla.jsonl --replace --dry-run=server\n\n"
     "  # Move to etcd\n"
     "  isla store export --seal cluster.jsonl\n"
     "  (stop islad, start it with --store=etcd:...)\n"
     "  isla store import cluster.jsonl\n\n"
     "  # Repair an object that can't be read\n"
     "  isla store get spec/session/default/broken > broken.json\n"
     "  isla store list spec/session/default/broken\n"
     "  isla store put spec/session/default/broken -f broken.json --revision=4711"},
    {"completion", "completion bash", "Print a script that completes commands in the shell",
     "Print a script for the shell. Names of objects are completed too.",
     "  # For this shell\n"
     "  source <(isla completion bash)\n\n"
     "  # For all shells to come\n"
     "  isla completion bash > /etc/bash_completion.d/isla"},
    {"help", "help [COMMAND]", "Help about a command", "Help about a command.", "  isla help get"},
    {"__complete", "__complete WORD...", "", "", ""},
}};

}  // namespace

std::span<const CommandText> Commands() { return kCommands; }

const CommandText* FindCommand(std::string_view name) {
  for (const CommandText& command : kCommands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

}  // namespace isla::cli
