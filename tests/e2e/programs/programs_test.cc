// Real programs run unharmed: under the default policy, and under a policy that was learnt from a run of the same.
#include <gmock/gmock.h>
#include <unistd.h>

#include "tests/e2e/box/box_process.h"

namespace isla::e2e {
namespace {

using ::testing::HasSubstr;

class BoxPrograms : public BoxTest {
 protected:
  /// Runs it bare and in a sandbox; `begin` makes what each run needs. What it prints is the same each time.
  void RunsUnharmed(const std::vector<std::string>& argv, const std::string& expected, const std::vector<std::string>& begin = {"true"}) {
    const auto run = [&](const char* how, const std::function<BoxResult()>& go) {
      const BoxResult begun = Bare(begin);
      ASSERT_EQ(begun.exit, 0) << how << ": " << Describe(begun);
      const BoxResult result = go();
      EXPECT_EQ(result.exit, 0) << how << ": " << Describe(result);
      EXPECT_THAT(result.out, HasSubstr(expected)) << how << ": " << Describe(result);
    };
    run("bare", [&] { return Bare(argv); });
    run("under the default policy", [&] { return Boxed({}, argv); });
    run("learning", [&] { return Learn(Path("learnt.json"), argv); });
    const BoxResult checked = Bare({Box(), "check", Path("learnt.json")});
    EXPECT_EQ(checked.exit, 0) << Describe(checked);
    run("under the learnt policy", [&] { return Boxed({"--policy", Path("learnt.json")}, argv); });
  }
  std::string Script(const std::string& text) {
    Write("script.sh", "set -e\n" + text);
    return Path("script.sh");
  }
};

TEST_F(BoxPrograms, GccBuildsAProject) {
  std::string all = "int main(void) { int sum = 0;\n", declarations = "#include <stdio.h>\n";
  for (int i = 0; i < 12; ++i) {
    const std::string n = std::to_string(i);
    Write("part" + n + ".c", "#include <math.h>\n#include <string.h>\nint part" + n + "(void) { return (int)strlen(\"four\") * " + n + "; }\n");
    declarations += "int part" + n + "(void);\n";
    all += "sum += part" + n + "();\n";
  }
  Write("main.c", declarations + all + "printf(\"sum %d\\n\", sum); return 0; }\n");
  Write("build.ninja",
        "rule cc\n command = gcc -O2 -MD -MF $out.d -c $in -o $out\n depfile = $out.d\nrule ar\n command = rm -f $out && ar rcs $out $in\n"
        "rule ld\n command = gcc $in -o $out\n"
        "build main.o: cc main.c\n" + [] {
          std::string rules, objects;
          for (int i = 0; i < 12; ++i) {
            const std::string n = std::to_string(i);
            rules += "build part" + n + ".o: cc part" + n + ".c\n";
            objects += " part" + n + ".o";
          }
          return rules + "build libparts.a: ar" + objects + "\nbuild program: ld main.o libparts.a\n";
        }());
  RunsUnharmed({"sh", Script("ninja >/dev/null\n./program")}, "sum 264\n", {"rm", "-rf", "program", ".ninja_log", ".ninja_deps"});
}

TEST_F(BoxPrograms, PythonWithNumpy) {
  Write("work.py",
        "import concurrent.futures, json, os, subprocess, tempfile, numpy\n"
        "a = numpy.arange(90000.0).reshape(300, 300)\n"
        "with tempfile.TemporaryDirectory(dir='.') as folder:\n"
        "    numpy.save(folder + '/a.npy', a @ a.T)\n"
        "    b = numpy.load(folder + '/a.npy', mmap_mode='r')\n"
        "    trace = round(float(numpy.trace(b)) / 1e6)\n"
        "with concurrent.futures.ThreadPoolExecutor(4) as pool:\n"
        "    assert sum(pool.map(lambda n: n * n, range(100))) == 328350\n"
        "assert subprocess.run(['echo', 'hi'], capture_output=True).stdout == b'hi\\n'\n"
        "print(json.dumps({'trace': trace}))\n");
  RunsUnharmed({Program("python3"), Path("work.py")}, "{\"trace\": 242995950}\n");
}

TEST_F(BoxPrograms, NodeServesItself) {
  Write("work.js",
        "const http = require('http'), fs = require('fs'), zlib = require('zlib'), { Worker } = require('worker_threads');\n"
        "const server = http.createServer((q, a) => a.end(zlib.gzipSync('hello ' + q.url)));\n"
        "server.listen(0, '127.0.0.1', () => http.get({host: '127.0.0.1', port: server.address().port, path: '/x'}, a => {\n"
        "  const parts = []; a.on('data', p => parts.push(p)); a.on('end', () => {\n"
        "    fs.writeFileSync('out.txt', zlib.gunzipSync(Buffer.concat(parts)));\n"
        "    new Worker('require(\"worker_threads\").parentPort.postMessage(41 + 1)', {eval: true}).on('message', n => {\n"
        "      console.log(fs.readFileSync('out.txt', 'utf8'), n); server.close(); });\n"
        "  });\n"
        "}));\n");
  RunsUnharmed({Program("node"), Path("work.js")}, "hello /x 42\n");
}

TEST_F(BoxPrograms, Git) {
  RunsUnharmed({"sh", Script("export HOME=$PWD GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b\n"
                             "git init -q one; cd one\n"
                             "for i in 1 2 3 4 5; do echo $i > file$i; git add .; git commit -q -m \"change $i\"; done\n"
                             "git gc -q; cd ..; git clone -q one two; cd two; git log --oneline | wc -l; git fsck 2>/dev/null; git status --short\n")},
               "5\n", {"rm", "-rf", "one", "two"});
}

TEST_F(BoxPrograms, Sqlite) {
  RunsUnharmed({Program("sqlite3"), "data.db",
                "PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);"
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20000) INSERT INTO t SELECT x, hex(x) FROM n;"
                "CREATE INDEX i ON t(b); PRAGMA integrity_check; SELECT count(*), sum(a) FROM t;"},
               "wal\nok\n20000|200010000\n", {"rm", "-f", "data.db", "data.db-wal", "data.db-shm"});
}

TEST_F(BoxPrograms, Redis) {
  const std::string server = Program("redis-server"), client = Program("redis-cli"), benchmark = Program("redis-benchmark");
  RunsUnharmed({"sh", Script(server + " --port 0 --unixsocket $PWD/redis.sock --dir $PWD --appendonly yes --save '' > redis.log & pid=$!\n"
                             "for i in $(seq 200); do " + client + " -s redis.sock ping >/dev/null 2>&1 && break; sleep 0.05; done\n" +
                             benchmark + " -s redis.sock -n 2000 -c 20 -t set,get,lpush -q >/dev/null\n" +
                             client + " -s redis.sock set answer 42\n" + client + " -s redis.sock bgsave >/dev/null\n"
                             // What it does on its way out depends on whether it is still saving, and a policy learns what it sees.
                             "for i in $(seq 400); do " + client + " -s redis.sock info persistence | grep -q rdb_bgsave_in_progress:0 && break; sleep 0.05; done\n" +
                             client + " -s redis.sock incr answer\n" + client + " -s redis.sock shutdown\nwait $pid\n")},
               "OK\n43\n", {"rm", "-rf", "redis.sock", "appendonlydir", "dump.rdb"});
}

TEST_F(BoxPrograms, AptGetInARootOfItsOwn) {
  if (getuid() != 0) GTEST_SKIP() << "only root can own a root's files";
  // A repository with one package, and a root with nothing but what apt and dpkg write.
  Write("repository.sh",
        "set -e\nrm -rf package root repository; mkdir -p package/DEBIAN package/opt/isla-toy repository\n"
        "echo hello > package/opt/isla-toy/file\n"
        "printf 'Package: isla-toy\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: a <a@b>\\nDescription: toy\\n' > package/DEBIAN/control\n"
        "dpkg-deb --root-owner-group --build package repository/isla-toy.deb >/dev/null\n"
        "cd repository; { cat ../package/DEBIAN/control; echo \"Filename: ./isla-toy.deb\"; echo \"Size: $(stat -c %s isla-toy.deb)\";"
        " echo \"SHA256: $(sha256sum isla-toy.deb | cut -d' ' -f1)\"; echo; } > Packages; cd ..\n"
        "mkdir -p root/etc/apt/apt.conf.d root/etc/apt/preferences.d root/etc/apt/trusted.gpg.d root/var/lib/dpkg/updates root/var/lib/dpkg/info"
        " root/var/lib/apt/lists/partial root/var/cache/apt/archives/partial root/var/log/apt root/tmp\n"
        "touch root/var/lib/dpkg/status; chmod -R a+rX .; chmod 755 .\n"
        "echo \"deb [trusted=yes] file:$PWD/repository ./\" > root/etc/apt/sources.list\n");
  RunsUnharmed({"sh", Script("apt=\"apt-get -qq -o Dir=$PWD/root -o Dir::State::status=$PWD/root/var/lib/dpkg/status -o DPkg::Options::=--root=$PWD/root"
                             " -o Dir::Etc=$PWD/root/etc/apt\"\n"
                             "$apt update; $apt install -y isla-toy >/dev/null; cat root/opt/isla-toy/file\n"
                             "$apt remove -y isla-toy >/dev/null; test ! -e root/opt/isla-toy/file\n")},
               "hello\n", {"sh", Path("repository.sh")});
}

TEST_F(BoxPrograms, StressNgRunsToTheEnd) {
  // Classes that are all system calls; each stressor ends with a failure if a call did what it must not.
  const BoxResult result = Boxed({}, {Program("stress-ng"), "--temp-path", folder(), "--seccomp", "1", "--syscall", "1", "--fork", "2", "--sigio", "1",
                                          "--sigsegv", "1", "--open", "2", "--rename", "1", "--dup", "1", "--pipe", "2", "--poll", "1", "--mmap", "1",
                                          "--mmap-bytes", "16M", "--futex", "1", "--timer", "1", "--signal", "1", "--kill", "1", "--sock", "1", "--vfork", "1",
                                          "--timeout", "5", "--oom-avoid", "--metrics-brief"});
  EXPECT_EQ(result.exit, 0) << Describe(result);
  EXPECT_THAT(result.out + result.err, HasSubstr("successful run completed")) << Describe(result);
}

}  // namespace
}  // namespace isla::e2e
