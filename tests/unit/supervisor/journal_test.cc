#include "sandbox/supervisor/journal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sandbox/supervisor/tag_pool.h"

namespace isla::supervisor {
namespace {

StatusOr<Journal> Successor(const Journal& journal) { return Journal::Open(UniqueFd(fcntl(journal.fd(), F_DUPFD_CLOEXEC, 3))); }

TEST(Journal, ASuccessorFindsWhatWasReceivedAndNotReturned) {
  StatusOr<Journal> journal = Journal::Create(4);
  ASSERT_TRUE(journal.ok());
  JournalSlot* const armed = journal->Take();
  JournalSlot* const received = journal->Take();
  JournalSlot* const answered = journal->Take();
  received->notification.id = 7;
  received->notification.data.arch = 1;
  received->stage = static_cast<uint32_t>(Stage::kPerforming);
  answered->notification.id = 8;
  answered->notification.data.arch = 1;
  journal->Return(answered);
  EXPECT_FALSE(armed->filled());

  StatusOr<Journal> successor = Successor(*journal);
  ASSERT_TRUE(successor.ok());
  ASSERT_EQ(successor->Left().size(), 1u);
  EXPECT_EQ(successor->Left()[0]->notification.id, 7u);
  EXPECT_EQ(successor->Left()[0]->stage, static_cast<uint32_t>(Stage::kPerforming));
  EXPECT_EQ(successor->free_slots(), 3u);
  successor->Return(successor->Left()[0]);
  EXPECT_EQ(successor->free_slots(), 4u);
}

TEST(Journal, AReturnedSlotIsZeroed) {
  StatusOr<Journal> journal = Journal::Create(1);
  JournalSlot* const slot = journal->Take();
  EXPECT_EQ(journal->Take(), nullptr);
  slot->notification.data.arch = 5;
  slot->notification.data.args[5] = 9;
  slot->attempts = 2;
  journal->Return(slot);
  EXPECT_EQ(journal->Take(), slot);
  for (const char byte : slot->room) EXPECT_EQ(byte, 0);
  EXPECT_EQ(slot->attempts, 0u);
}

TEST(Journal, ASlotThatItsOwnerDiedClearingIsZeroed) {
  StatusOr<Journal> journal = Journal::Create(4);
  JournalSlot* const slot = journal->Take();
  slot->notification.id = 7;  // `arch` was cleared already
  slot->notification.pid = 8;
  StatusOr<Journal> successor = Successor(*journal);
  ASSERT_TRUE(successor.ok());
  EXPECT_TRUE(successor->Left().empty());
  EXPECT_EQ(slot->notification.id, 0u) << "the kernel refuses to receive into anything but zeros";
  EXPECT_EQ(slot->notification.pid, 0u);
}

TEST(Journal, OtherDescriptorsAreRefused) {
  EXPECT_EQ(Journal::Open(UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC))).status().code(), Code::kInvalidArgument);
  UniqueFd plain(memfd_create("x", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(plain.get(), 4096), 0);
  EXPECT_EQ(Journal::Open(std::move(plain)).status().code(), Code::kInvalidArgument);
}

TEST(TagPool, AReservedTagIsNotGivenOutUntilItIsReturned) {
  TagPool tags;
  const uint32_t first = tags.Take();
  tags.Return(first);
  EXPECT_TRUE(tags.Reserve(first));
  EXPECT_FALSE(tags.Reserve(first));
  EXPECT_FALSE(tags.Reserve(0));
  EXPECT_FALSE(tags.Reserve(64 + 1));
  size_t given = 0;
  for (uint32_t tag = tags.Take(); tag != 0; tag = tags.Take(), ++given) EXPECT_NE(tag, first);
  EXPECT_EQ(given, 29u);
  tags.Return(first);
  EXPECT_EQ(tags.Take(), first);
}

}  // namespace
}  // namespace isla::supervisor
