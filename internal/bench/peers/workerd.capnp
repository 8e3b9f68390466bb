using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "add", worker = .add)],
  sockets = [(name = "http", http = (), service = "add")]
);

const add :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-01-01"
);
