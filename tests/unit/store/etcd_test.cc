// The parts of the etcd client that need no etcd: endpoints, errors, and what watch responses mean.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "store/etcd/channels.h"
#include "store/etcd/codec.h"
#include "store/etcd/etcd_store.h"
#include "store/etcd/watch_decoder.h"

namespace isla::store {
namespace {

using etcdserverpb::WatchResponse;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Target(const std::string& endpoint, bool tls = false) {
  const auto target = EndpointTarget(endpoint, tls);
  return target.ok() ? *target : std::string(CodeName(target.status().code()));
}

TEST(EtcdEndpoint, IsAnAddressAsPeopleWriteIt) {
  EXPECT_EQ(Target("127.0.0.1:2379"), "dns:///127.0.0.1:2379");
  EXPECT_EQ(Target("etcd.example:2379"), "dns:///etcd.example:2379");
  EXPECT_EQ(Target("[::1]:2379"), "dns:///[::1]:2379");
  EXPECT_EQ(Target("http://a:1"), "dns:///a:1");
  EXPECT_EQ(Target("http://a:1/"), "dns:///a:1");
  EXPECT_EQ(Target("https://a:1", true), "dns:///a:1");
  EXPECT_EQ(Target("unix:///run/etcd/c.sock:0"), "unix:/run/etcd/c.sock:0");
  EXPECT_EQ(Target("unix:/run/etcd/c.sock:0"), "unix:/run/etcd/c.sock:0");
  EXPECT_EQ(Target("unix:c.sock:0"), "unix:c.sock:0");
  EXPECT_EQ(Target("unix:/a b%"), "unix:/a%20b%25");
}

TEST(EtcdEndpoint, NonsenseIsRefused) {
  for (const char* endpoint : {"", "host", "host:", ":2379", "host:0", "host:65536", "host:12345678", "host:2x", "::1:2379", "a b:1",
                               "http://", "host:1/path", "unix:", "unix:///", "unix://relative", "user@host:1"}) {
    EXPECT_EQ(Target(endpoint), "INVALID_ARGUMENT") << endpoint;
  }
  EXPECT_EQ(Target("https://a:1", false), "INVALID_ARGUMENT");
  EXPECT_EQ(Target("http://a:1", true), "INVALID_ARGUMENT");
  EXPECT_EQ(Target("unix:/" + std::string(107, 'x')), "INVALID_ARGUMENT");
  EXPECT_EQ(ConnectEtcd({}).status().code(), Code::kInvalidArgument);
}

etcdserverpb::RangeResponse Page(const std::vector<std::string>& keys, bool more) {
  etcdserverpb::RangeResponse page;
  page.mutable_header()->set_revision(9);
  page.set_more(more);
  for (const std::string& key : keys) {
    auto& kv = *page.add_kvs();
    kv.set_key(key);
    kv.set_mod_revision(5);
  }
  return page;
}

TEST(EtcdAnswers, PagesMakeOneList) {
  ListResult list;
  auto first = Page({"/t/a", "/t/b"}, true), second = Page({"/t/c"}, false);
  second.mutable_header()->set_revision(12);
  EXPECT_EQ(TakePage("/t/", first, list).value(), true);
  EXPECT_EQ(TakePage("/t/", second, list).value(), false);
  EXPECT_EQ(list.revision, 9);
  ASSERT_EQ(list.kvs.size(), 3U);
  EXPECT_EQ(list.kvs[2]->key, "/t/c");
}

TEST(EtcdAnswers, APageThatIsNoneOfTheListIsRefused) {
  const auto refused = [](etcdserverpb::RangeResponse page) {
    ListResult list;
    auto first = Page({"/t/a", "/t/b"}, true);
    EXPECT_TRUE(TakePage("/t/", first, list).ok());
    return TakePage("/t/", page, list).status().code() == Code::kUnavailable;
  };
  EXPECT_TRUE(refused(Page({}, true)));                   // would be asked for again, for ever
  EXPECT_TRUE(refused(Page({"/t/b"}, false)));            // twice
  EXPECT_TRUE(refused(Page({"/t/d", "/t/c"}, false)));    // out of order
  EXPECT_TRUE(refused(Page({"/u"}, false)));              // of another prefix
  auto future = Page({"/t/c"}, false);
  future.mutable_kvs(0)->set_mod_revision(10);
  EXPECT_TRUE(refused(future));
  EXPECT_FALSE(refused(Page({}, false)));
}

TEST(EtcdAnswers, AGetIsAnsweredWithItsKeyOrNothing) {
  auto none = Page({}, false), one = Page({"/t/a"}, false), other = Page({"/t/b"}, false);
  EXPECT_EQ(TakeGet("/t/a", none)->kv, nullptr);
  EXPECT_EQ(TakeGet("/t/a", one)->kv->key, "/t/a");
  EXPECT_EQ(TakeGet("/t/a", other).status().code(), Code::kUnavailable);
}

TEST(EtcdAnswers, ATransactionWithoutAResultForEveryOperationMayHaveRun) {
  Transaction txn;
  txn.success = {Operation::Put("/t/a", "1"), Operation::Get("/t/b")};
  etcdserverpb::TxnResponse response;
  response.set_succeeded(true);
  response.add_responses()->mutable_response_put();
  EXPECT_EQ(DecodeTransaction(txn, response).status().code(), Code::kDeadlineExceeded);
  *response.add_responses()->mutable_response_range() = Page({"/t/c"}, false);
  EXPECT_EQ(DecodeTransaction(txn, response).status().code(), Code::kDeadlineExceeded);
  *response.mutable_responses(1)->mutable_response_range() = Page({"/t/b"}, false);
  EXPECT_EQ(DecodeTransaction(txn, response)->gets.at(0)->key, "/t/b");
}

Code Mapped(grpc::StatusCode code, const std::string& message, bool may_have_run) {
  return FromEtcd(grpc::Status(code, message), may_have_run).code();
}

TEST(EtcdErrors, AWriteThatMayHaveRunHasAnUnknownOutcome) {
  for (const auto code : {grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::CANCELLED, grpc::StatusCode::UNKNOWN,
                          grpc::StatusCode::INTERNAL, grpc::StatusCode::DEADLINE_EXCEEDED}) {
    EXPECT_EQ(Mapped(code, "connection reset", true), Code::kDeadlineExceeded);
  }
  EXPECT_EQ(Mapped(grpc::StatusCode::UNAVAILABLE, "etcdserver: request timed out", true), Code::kDeadlineExceeded);
  EXPECT_EQ(Mapped(grpc::StatusCode::UNAVAILABLE, "etcdserver: no leader", true), Code::kUnavailable);
}

TEST(EtcdErrors, AReadMaySimplyBeTriedAgain) {
  EXPECT_EQ(Mapped(grpc::StatusCode::UNAVAILABLE, "connection reset", false), Code::kUnavailable);
  EXPECT_EQ(Mapped(grpc::StatusCode::INTERNAL, "RST_STREAM", false), Code::kUnavailable);
}

TEST(EtcdErrors, EtcdsOwnErrorsKeepTheirMeaning) {
  EXPECT_EQ(Mapped(grpc::StatusCode::OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", false), Code::kOutOfRange);
  EXPECT_EQ(Mapped(grpc::StatusCode::NOT_FOUND, "etcdserver: requested lease not found", true), Code::kNotFound);
  EXPECT_EQ(Mapped(grpc::StatusCode::INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request", true), Code::kInvalidArgument);
  EXPECT_EQ(Mapped(grpc::StatusCode::INVALID_ARGUMENT, "etcdserver: request is too large", true), Code::kResourceExhausted);
  EXPECT_EQ(Mapped(grpc::StatusCode::RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", true), Code::kResourceExhausted);
  EXPECT_EQ(Mapped(grpc::StatusCode::PERMISSION_DENIED, "etcdserver: permission denied", true), Code::kPermissionDenied);
  EXPECT_THAT(Message(FromEtcd(grpc::Status(grpc::StatusCode::NOT_FOUND, "gone"), false)), HasSubstr("gone"));
}

void AddEvent(WatchResponse& response, Revision revision, const std::string& key, bool put = true) {
  auto& event = *response.add_events();
  event.set_type(put ? etcdserverpb::Event::PUT : etcdserverpb::Event::DELETE);
  event.mutable_kv()->set_key(key);
  event.mutable_kv()->set_mod_revision(revision);
}

WatchResponse Response(const std::vector<std::pair<Revision, std::string>>& events, bool fragment = false) {
  WatchResponse response;
  response.mutable_header()->set_cluster_id(7);
  response.mutable_header()->set_revision(1'000'000);
  response.set_fragment(fragment);
  for (const auto& [revision, key] : events) AddEvent(response, revision, key);
  return response;
}

std::vector<std::string> Names(const WatchBatch& batch) {
  std::vector<std::string> names;
  for (const Event& event : batch.events) names.push_back(event.kv->key);
  return names;
}

TEST(WatchDecoder, ABatchStandsAtItsLastEventNotAtTheHeader) {
  WatchDecoder decoder(5, 0);
  WatchResponse response = Response({{5, "a"}, {6, "b"}});
  const auto result = decoder.Handle(response);
  EXPECT_TRUE(result.end.ok());
  EXPECT_EQ(result.batch.revision, 6);
  EXPECT_THAT(Names(result.batch), ElementsAre("a", "b"));
}

TEST(WatchDecoder, FragmentsAreOneResponse) {
  WatchDecoder decoder(5, 0);
  WatchResponse one = Response({{5, "a"}, {5, "b"}}, true), two = Response({{5, "c"}}, true), three = Response({{5, "d"}, {6, "e"}});
  EXPECT_THAT(decoder.Handle(one).batch.events, IsEmpty());
  EXPECT_THAT(decoder.Handle(two).batch.events, IsEmpty());
  const auto result = decoder.Handle(three);
  EXPECT_THAT(Names(result.batch), ElementsAre("a", "b", "c", "d", "e"));
  EXPECT_EQ(result.batch.revision, 6);
}

TEST(WatchDecoder, EventsSentAgainAreDropped) {
  WatchDecoder decoder(5, 0);
  WatchResponse one = Response({{5, "a"}, {6, "b"}}), again = Response({{5, "a"}, {6, "b"}, {7, "c"}}), only_old = Response({{6, "b"}});
  decoder.Handle(one);
  const auto result = decoder.Handle(again);
  EXPECT_THAT(Names(result.batch), ElementsAre("c"));
  EXPECT_EQ(result.batch.revision, 7);
  EXPECT_THAT(decoder.Handle(only_old).batch.events, IsEmpty());
  EXPECT_EQ(decoder.dropped(), 3U);
}

TEST(WatchDecoder, EventsOfBeforeTheStartAreDropped) {
  WatchDecoder decoder(100, 0);
  WatchResponse response = Response({{98, "a"}, {99, "b"}, {100, "c"}});
  EXPECT_THAT(Names(decoder.Handle(response).batch), ElementsAre("c"));
}

// Of the compacted revision itself etcd has forgotten the deletes; asked for the one before, it says so.
TEST(WatchDecoder, AsksForOneRevisionBeforeAndDropsItUncounted) {
  WatchDecoder decoder(100, 0);
  EXPECT_EQ(decoder.asks_from(), 99);
  WatchResponse response = Response({{99, "b"}, {100, "c"}}), old = Response({{98, "a"}});
  EXPECT_THAT(Names(decoder.Handle(response).batch), ElementsAre("c"));
  EXPECT_EQ(decoder.dropped(), 0U);
  decoder.Handle(old);
  EXPECT_EQ(decoder.dropped(), 1U);
  EXPECT_EQ(WatchDecoder(1, 0).asks_from(), 1);  // 0 would mean "from now on"
}

TEST(WatchDecoder, AllEventsOfATransactionPassThoughTheyShareARevision) {
  WatchDecoder decoder(5, 0);
  WatchResponse response = Response({{5, "a"}, {5, "b"}, {5, "c"}});
  EXPECT_THAT(Names(decoder.Handle(response).batch), ElementsAre("a", "b", "c"));
}

TEST(WatchDecoder, RevisionsThatFallWithinAResponseBringAWholeList) {
  WatchDecoder decoder(5, 0);
  WatchResponse response = Response({{7, "a"}, {6, "b"}});
  const auto result = decoder.Handle(response);
  EXPECT_EQ(result.end.code(), Code::kOutOfRange);
  EXPECT_THAT(result.batch.events, IsEmpty());
}

TEST(WatchDecoder, ProgressProvesNothing) {
  WatchDecoder decoder(5, 0);
  WatchResponse progress = Response({}), event = Response({{5, "a"}});
  const auto result = decoder.Handle(progress);
  EXPECT_THAT(result.batch.events, IsEmpty());
  EXPECT_TRUE(result.end.ok());
  EXPECT_THAT(Names(decoder.Handle(event).batch), ElementsAre("a"));
}

TEST(WatchDecoder, CompactionEndsTheWatch) {
  WatchDecoder decoder(5, 0);
  WatchResponse response = Response({});
  response.set_canceled(true);
  response.set_compact_revision(9);
  EXPECT_EQ(decoder.Handle(response).end.code(), Code::kOutOfRange);
  WatchResponse by_text = Response({});
  by_text.set_canceled(true);
  by_text.set_cancel_reason("etcdserver: mvcc: required revision has been compacted");
  EXPECT_EQ(WatchDecoder(5, 0).Handle(by_text).end.code(), Code::kOutOfRange);
}

TEST(WatchDecoder, AnyOtherCancellationIsUnavailable) {
  WatchResponse response = Response({});
  response.set_canceled(true);
  response.set_cancel_reason("etcdserver: no leader");
  EXPECT_EQ(WatchDecoder(5, 0).Handle(response).end.code(), Code::kUnavailable);
  response.set_cancel_reason("rpc error: code = PermissionDenied desc = etcdserver: permission denied");
  EXPECT_EQ(WatchDecoder(5, 0).Handle(response).end.code(), Code::kPermissionDenied);
}

TEST(WatchDecoder, AnotherClusterEndsTheWatch) {
  WatchDecoder decoder(5, 7);
  WatchResponse ours = Response({{5, "a"}}), theirs = Response({{6, "b"}});
  theirs.mutable_header()->set_cluster_id(8);
  EXPECT_TRUE(decoder.Handle(ours).end.ok());
  const auto result = decoder.Handle(theirs);
  EXPECT_EQ(result.end.code(), Code::kOutOfRange);
  EXPECT_THAT(result.batch.events, IsEmpty());
}

TEST(WatchDecoder, AnEventWithoutAKeyValueIsDropped) {
  WatchDecoder decoder(5, 0);
  WatchResponse response = Response({});
  response.add_events();
  const auto result = decoder.Handle(response);
  EXPECT_TRUE(result.end.ok());
  EXPECT_THAT(result.batch.events, IsEmpty());
}

}  // namespace
}  // namespace isla::store
