<?php
// Laravel's queue: jobs, bulk pushes, delays, jobs that fail and are tried again, a job whose worker died, workers that
// wait. Its scripts name several keys of a queue, so the queue's name must be a hash tag: LARAVEL_QUEUE={default}.

require 'Illuminate/Redis/autoload.php';
require 'Illuminate/Queue/autoload.php';

use Illuminate\Container\Container;
use Illuminate\Queue\Capsule\Manager;
use Illuminate\Redis\RedisManager;

const JOBS = 100;

$name = getenv('LARAVEL_QUEUE') ?: '{default}';
$app = new Container;
$server = ['host' => '127.0.0.1', 'port' => (int) getenv('REDIS_PORT'), 'database' => 0, 'read_timeout' => 60];
$app->instance('redis', new RedisManager($app, 'phpredis', ['default' => $server, 'options' => []]));
$redis = $app['redis']->connection();

function check(string $what, bool $fact): void
{
    if (!$fact) {
        throw new RuntimeException($what);
    }
}

function wait_for(string $what, callable $condition): void
{
    $deadline = microtime(true) + 60;
    while (!$condition()) {
        check("waited in vain for $what", microtime(true) < $deadline);
        usleep(20000);
    }
}

// What the jobs do.
class Add
{
    public function fire($job, $data)
    {
        $GLOBALS['redis']->rpush('laravel:done', "{$data['x']}+{$data['y']}=" . ($data['x'] + $data['y']));
        $job->delete();
    }
}

class FailTwice
{
    public function fire($job, $data)
    {
        if ($job->attempts() < 3) {
            $job->release(0);
        } else {
            $GLOBALS['redis']->rpush('laravel:done', 'third time');
            $job->delete();
        }
    }
}

class DieOnce
{
    public function fire($job, $data)
    {
        if ($job->attempts() < 2) {
            // As a worker that is killed: the job is not deleted, and comes back when its time is over.
            exit(0);
        }
        $GLOBALS['redis']->rpush('laravel:done', 'came back');
        $job->delete();
    }
}

// Who does not delete a job within `$patience` seconds has died.
function queue(Container $app, string $name, ?int $wait, int $patience = 600)
{
    $manager = new Manager($app);
    $manager->addConnection([
        'driver' => 'redis', 'connection' => 'default', 'queue' => $name, 'retry_after' => $patience,
        'block_for' => $wait,
    ]);
    return $manager->getConnection();
}

if (($argv[1] ?? '') === 'work') {
    [$queue, $deadly] = [queue($app, $name, 1), queue($app, '{deadly}', null, 1)];
    while (!$redis->exists('laravel:stop')) {
        optional($queue->pop())->fire();
        optional($deadly->pop())->fire();
    }
    exit(0);
}

function worker()
{
    $child = proc_open([PHP_BINARY, __FILE__, 'work'], [1 => STDOUT, 2 => STDERR], $pipes);
    check('a worker', is_resource($child));
    return $child;
}

$queue = queue($app, $name, null);
$done = fn () => $redis->lrange('laravel:done', 0, -1);
$queue->push('Add', ['x' => 1, 'y' => 2]);
$queue->bulk(array_fill(0, 5, 'Add'), ['x' => 2, 'y' => 2]);
$queue->later(1, 'Add', ['x' => 3, 'y' => 2]);
check('seven are queued', $queue->size() === 7);
$queue->pop()->fire();
check('the first came first', $done() === ['1+2=3']);
check('all others are cleared', $queue->clear($name) === 6 && $queue->size() === 0);
$redis->del('laravel:done');
echo "ok a queue\n";

$workers = [worker(), worker()];
for ($n = 0; $n < JOBS; $n++) {
    $queue->push('Add', ['x' => $n, 'y' => 1000]);
}
$queue->later(1, 'Add', ['x' => 20000, 'y' => 1]);
$queue->push('FailTwice');
wait_for('all jobs', fn () => count($done()) >= JOBS + 2);
$wanted = array_map(fn ($n) => "$n+1000=" . ($n + 1000), range(0, JOBS - 1));
$wanted = array_merge($wanted, ['20000+1=20001', 'third time']);
$found = $done();
sort($wanted);
sort($found);
check('each job ran once: ' . implode(' ', array_diff($found, $wanted)), $found === $wanted);
echo "ok workers, delays and retries\n";

queue($app, '{deadly}', null)->push('DieOnce');
wait_for('a job whose worker died', fn () => in_array('came back', $done()));
check('nothing is left', $queue->size() === 0);
$redis->set('laravel:stop', '1');
foreach ($workers as $worker) {
    proc_close($worker);
}
echo "ok a worker that died\n";
