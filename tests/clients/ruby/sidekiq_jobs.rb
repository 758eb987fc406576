# What the workers of sidekiq_app.rb do.

require "sidekiq"

REDIS = {url: "redis://127.0.0.1:#{ENV.fetch("REDIS_PORT")}/0"}

Sidekiq.configure_client { |config| config.redis = REDIS }
Sidekiq.configure_server do |config|
  config.redis = REDIS
  # How often it looks for jobs whose time has come, in seconds.
  config.options[:poll_interval_average] = 0.2
end

def note(what)
  Sidekiq.redis { |redis| redis.rpush("sidekiq:done", what) }
end

def times(name)
  Sidekiq.redis { |redis| redis.incr("sidekiq:#{name}") }
end

class Add
  include Sidekiq::Worker

  def perform(x, y)
    note("#{x}+#{y}=#{x + y}")
  end
end

class Urgent
  include Sidekiq::Worker
  sidekiq_options queue: "high"

  def perform
    note("urgent")
  end
end

class FailOnce
  include Sidekiq::Worker

  def perform
    raise "on purpose" if times("tries") == 1
    note("second time")
  end
end

class Fail
  include Sidekiq::Worker
  sidekiq_options retry: 0

  def perform
    raise "on purpose"
  end
end

class Long
  include Sidekiq::Worker

  def perform
    note("began")
    sleep 600 if times("long") == 1
    note("ended")
  end
end
