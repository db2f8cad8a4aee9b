#include "api/server/server.h"

#include <map>

#include "api/server/api_handler.h"
#include "api/server/auth.h"
#include "api/server/http_server.h"
#include "api/server/identity.h"

namespace isla::server {

namespace {

constexpr Duration kCertificateCheck = std::chrono::hours(12);

/// CallerOfUid, asked once for each user: the user database may be slow (LDAP). Called from one I/O thread.
PeerMapper CachedCallers() {
  constexpr size_t kMost = 4096;
  const auto known = std::make_shared<std::map<unsigned, registry::Caller>>();
  return [known](unsigned uid) {
    if (known->size() > kMost) known->clear();
    const auto [it, fresh] = known->try_emplace(uid);
    if (fresh) it->second = CallerOfUid(uid);
    return it->second;
  };
}

class ApiServer final : public Server {
 public:
  ApiServer(ApiContext context, std::string url) : handler_(std::move(context)), url_(std::move(url)) {}

  std::string url() const override { return url_; }
  bool Responds(Duration timeout) override { return http_->Responds(timeout); }

  Status Listen(const ServerOptions& options, const Identity* identity, const Clock& clock, Random& random,
                Metrics& metrics) {
    ASSIGN_OR_RETURN(http_, HttpServer::Create(options, handler_, metrics));
    if (!options.socket_path.empty()) {
      RETURN_IF_ERROR(http_->ListenUnix(options.socket_path, CachedCallers()));
    }
    if (identity != nullptr) {
      ASSIGN_OR_RETURN(const int port, http_->ListenTls(options.listen, identity->tls));
      url_ = "https://" + options.listen.substr(0, options.listen.rfind(':')) + ":" + std::to_string(port);
      RETURN_IF_ERROR(WriteKubeconfig(options.data_dir, url_, *identity));
      http_->RenewTls(kCertificateCheck,
                      [dir = options.data_dir, &clock, &random]() -> StatusOr<TlsIdentity> {
                        ASSIGN_OR_RETURN(Identity renewed, LoadIdentity(dir, clock, random));
                        return renewed.tls;
                      });
    }
    http_->Serve();
    return OkStatus();
  }

 private:
  ApiHandler handler_;
  std::string url_;
  std::unique_ptr<HttpServer> http_;  // last: it calls the handler
};

}  // namespace

StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, registry::Registry& registry,
                                                LogSource& logs, Metrics& metrics, const Clock& clock,
                                                Random& random, ReadyCheck ready, StoreAdmin* store) {
  Identity identity;
  if (!options.listen.empty()) {
    ASSIGN_OR_RETURN(identity, LoadIdentity(options.data_dir, clock, random));
  }
  auto server = std::make_unique<ApiServer>(
      ApiContext{registry, logs, metrics, clock, std::move(ready), identity.token, options.bookmark_interval,
                 store},
      std::string());
  RETURN_IF_ERROR(server->Listen(options, options.listen.empty() ? nullptr : &identity, clock, random, metrics));
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace isla::server
