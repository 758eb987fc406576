# Sidekiq: jobs of two queues, bulk pushes, the scheduled, the retry and the dead set, and a worker that is stopped in
# the middle of a job.

require_relative "sidekiq_jobs"
require "sidekiq/api"

Sidekiq.logger.level = Logger::WARN
$stdout.sync = true

def wait_for(what)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 60
  until yield
    raise "waited in vain for #{what}" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
    sleep 0.02
  end
end

def done
  Sidekiq.redis { |redis| redis.lrange("sidekiq:done", 0, -1) }
end

def check(what, fact)
  raise what unless fact
end

# As an operator starts it. A job that does not end in time goes back; idle workers need two seconds to notice the stop.
def work
  jobs = File.join(__dir__, "sidekiq_jobs.rb")
  worker = spawn("sidekiq", "-r", jobs, "-c", "4", "-t", "4", "-q", "high", "-q", "default")
  yield
ensure
  Process.kill("TERM", worker)
  Process.wait(worker)
  check("the worker ended with #{$?}", $?.success?)
end

10.times { |n| Add.perform_async(n, n) }
Sidekiq::Client.push_bulk("class" => Add, "args" => (0...100).map { |n| [n, 1000] })
Urgent.perform_async
check("jobs are queued", Sidekiq::Queue.new.size == 110 && Sidekiq::Queue.new("high").size == 1)
check("queues", Sidekiq::Queue.all.map(&:name).sort == %w[default high])
Add.perform_in(1, 20_000, 1)
Add.perform_in(3600, 30_000, 1)
check("two are scheduled", Sidekiq::ScheduledSet.new.size == 2)

work do
  wait_for("all jobs") { done.size >= 112 }
  check("their results", done.sort == ((0...10).map { |n| "#{n}+#{n}=#{n + n}" } +
    (0...100).map { |n| "#{n}+1000=#{n + 1000}" } + ["urgent", "20000+1=20001"]).sort)
  puts "ok jobs, also one whose time has come"
  wait_for("the worker in the list of processes") { Sidekiq::ProcessSet.new.size == 1 }
  check("one is still scheduled", Sidekiq::ScheduledSet.new.map(&:args) == [[30_000, 1]])
  check("it can be taken back", Sidekiq::ScheduledSet.new.first.delete && Sidekiq::ScheduledSet.new.size == 0)
  puts "ok the scheduled set"

  FailOnce.perform_async
  wait_for("a job to be tried again") { Sidekiq::RetrySet.new.size == 1 }
  Sidekiq::RetrySet.new.each(&:retry)
  wait_for("its second time") { done.include?("second time") }
  puts "ok retries"
  Fail.perform_async
  wait_for("a dead job") { Sidekiq::DeadSet.new.size == 1 }
  check("its error", Sidekiq::DeadSet.new.first["error_message"] == "on purpose")
  Sidekiq::DeadSet.new.clear
  puts "ok the dead set"
  Long.perform_async
  wait_for("a long job") { done.include?("began") }
end
check("what was interrupted is back", Sidekiq::Queue.new.map(&:klass) == ["Long"])
work { wait_for("its end") { done.include?("ended") } }
check("it ran again from the start", done.count("began") == 2)
stats = Sidekiq::Stats.new
check("#{stats.processed} jobs are counted, #{stats.failed} failed", stats.processed == 117 && stats.enqueued == 0)
puts "ok a worker that is stopped"
