"""Types the guide's "Common Operations" into redis-cli and reads what it prints. GUIDE_CLIENT=cluster gives -c."""

import os
import re
import subprocess
import sys
from pathlib import Path

CLI = ["redis-cli", "-h", "localhost", "-p", os.environ["REDIS_PORT"], "-a", "your-password", "--no-auth-warning"]
if os.environ["GUIDE_CLIENT"] == "cluster":
    CLI.append("-c")


def steps():
    """Each command with the pattern of its answer."""
    found = []
    for line in (Path(__file__).parent / "operations.txt").read_text().splitlines():
        if line.startswith("= "):
            found[-1][1].append(re.escape(line[2:]))
        elif line.startswith("~ "):
            found[-1][1].append(line[2:].replace("(?s)", "").removeprefix("^").removesuffix("$"))
        elif line and not line.startswith("#"):
            found.append((line, []))
    return found


def type_and_read():
    commands = [command for command, _ in steps()]
    typed = subprocess.run(CLI, input="\n".join(commands) + "\n", capture_output=True, text=True, timeout=60)
    answers = [("(?s:.*)" if "".join(lines).count(".*") else "") + "\n".join(lines) +
               ("(?s:.*)" if "".join(lines).count(".*") else "") for _, lines in steps()]
    for count in range(1, len(answers) + 1):
        if not re.match("\n".join(answers[:count]).replace(".*", "(?s:.*?)"), typed.stdout):
            sys.exit(f"{commands[count - 1]}\nshould print {answers[count - 1]!r}, all was:\n{typed.stdout}{typed.stderr}")
    print("ok", len(commands), "commands")


def subscribe_and_publish():
    # Subscriber (Terminal 1)
    with subprocess.Popen([*CLI, "SUBSCRIBE", "notifications:user:1000"], stdout=subprocess.PIPE, text=True) as channel, \
            subprocess.Popen([*CLI, "PSUBSCRIBE", "notifications:*"], stdout=subprocess.PIPE, text=True) as pattern:
        try:
            assert read(channel, 3) == ["subscribe", "notifications:user:1000", "1"]
            assert read(pattern, 3) == ["psubscribe", "notifications:*", "1"]
            # Publisher (Terminal 2)
            message = '{"type":"message","content":"Hello!"}'
            subprocess.run([*CLI, "PUBLISH", "notifications:user:1000", message], check=True, capture_output=True)
            assert read(channel, 3) == ["message", "notifications:user:1000", message]
            assert read(pattern, 4) == ["pmessage", "notifications:*", "notifications:user:1000", message]
        finally:
            channel.kill(), pattern.kill()
    print("ok pub/sub")


def read(process, lines):
    return [process.stdout.readline().rstrip("\n") for _ in range(lines)]


type_and_read()
subscribe_and_publish()
