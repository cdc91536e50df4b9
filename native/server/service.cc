#include "server/service.h"

#include "frontends/nbd/server.h"
#include "frontends/ublk/device.h"

namespace us {

using nlohmann::json;

namespace {

class UblkService : public Service {
  public:
    UblkService(Graph &graph, const json &config, Progress progress)
        : graph_(graph), device_(graph, config, std::move(progress)) {}

    void prepare(Shelf &shelf) override {
        device_.observe();
        graph_.open(device_.nr_queues(), device_.depth());
        device_.acquire(shelf);
    }
    void start() override { device_.start(); }
    void stop() override { device_.stop(); }
    void join() override { device_.join(); }

    std::optional<uint32_t> device_id() const override { return device_.id(); }
    json exports() const override {
        json list = json::array();
        // Who has a block device open is the kernel's knowledge.
        for (const Export &exported : graph_.exports())
            if (!exported.name.empty()) list.push_back({{"name", exported.name}, {"clients", nullptr}});
        return list;
    }
    void describe_queue(uint32_t index, json &queue) const override { device_.describe_queue(index, queue); }

  private:
    Graph &graph_;
    ublk::Device device_;
};

class NbdService : public Service {
  public:
    NbdService(Graph &graph, const json &config) : graph_(graph), server_(graph, config) {}

    void prepare(Shelf &) override {
        graph_.open(NbdServer::nr_queues(), NbdServer::queue_depth);
        server_.listen();
    }
    void start() override { server_.start(); }
    void stop() override { server_.stop(); }
    void join() override { server_.join(); }

    std::optional<uint32_t> device_id() const override { return std::nullopt; }
    json exports() const override { return server_.status().at("exports"); }
    void describe_queue(uint32_t, json &queue) const override {
        queue["engine"] = "native";
        queue["reason"] = "NBD clients speak to a process";
        queue["copyMode"] = "nbd";
        queue["kernel"] = nullptr;
    }

  private:
    Graph &graph_;
    NbdServer server_;
};

} // namespace

std::unique_ptr<Service> make_service(Graph &graph, const json &config, Progress progress) {
    std::string frontend = config.at("table").value("frontend", "");
    if (frontend == "ublk") return std::make_unique<UblkService>(graph, config, std::move(progress));
    if (frontend == "nbd") return std::make_unique<NbdService>(graph, config);
    throw ConfigError("bad-value", "table.frontend is neither ublk nor nbd, but \"" + frontend + "\"");
}

} // namespace us
