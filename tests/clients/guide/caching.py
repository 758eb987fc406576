# The guide's "Caching Patterns", unchanged but for where the cluster is and the names of functions that the guide
# uses twice. The database is a table in memory that counts how often it is asked.
import json
import os
import uuid

import redis as library

redis = library.Redis(host='localhost', port=int(os.environ['REDIS_PORT']), password='your-password')


class Database:
    def __init__(self):
        self.rows = {1001: {'name': 'John', 'email': 'john@example.com'}}
        self.queries = 0

    def query(self, statement):
        assert statement.startswith('SELECT * FROM users')
        self.queries += 1
        return self.rows[int(statement.split('= ')[1])]

    def execute(self, statement):
        assert statement.startswith('UPDATE users')


db = Database()


# Cache-Aside Pattern
def get_user(user_id):
    # Try cache first
    cached = redis.get(f'user:{user_id}')
    if cached:
        return json.loads(cached)

    # Cache miss - fetch from database
    user = db.query(f"SELECT * FROM users WHERE id = {user_id}")

    # Store in cache with TTL
    redis.setex(f'user:{user_id}', 3600, json.dumps(user))

    return user


def update_user(user_id, data):
    # Update database
    db.execute(f"UPDATE users SET ... WHERE id = {user_id}")

    # Invalidate cache
    redis.delete(f'user:{user_id}')


assert get_user(1001) == get_user(1001) == {'name': 'John', 'email': 'john@example.com'}
assert db.queries == 1 and 3500 < redis.ttl('user:1001') <= 3600
update_user(1001, {})
get_user(1001)
assert db.queries == 2
redis.delete('user:1001')


# Write-Through Pattern
def write_through(user_id, data):
    # Update cache first
    redis.hset(f'user:{user_id}', mapping=data)
    redis.expire(f'user:{user_id}', 3600)

    # Then update database
    db.execute(f"UPDATE users SET ... WHERE id = {user_id}")


write_through(1001, {'name': 'Jane'})
assert redis.hgetall('user:1001') == {b'name': b'Jane'} and redis.ttl('user:1001') > 3500


# Distributed Locking
def acquire_lock(lock_name, timeout=10):
    identifier = str(uuid.uuid4())
    lock_key = f'lock:{lock_name}'

    if redis.set(lock_key, identifier, nx=True, ex=timeout):
        return identifier
    return None


def release_lock(lock_name, identifier):
    lock_key = f'lock:{lock_name}'

    # Lua script for atomic check-and-delete
    script = """
    if redis.call('get', KEYS[1]) == ARGV[1] then
        return redis.call('del', KEYS[1])
    else
        return 0
    end
    """
    return redis.eval(script, 1, lock_key, identifier)


# Usage
lock_id = acquire_lock('process-orders')
assert lock_id
if lock_id:
    try:
        assert acquire_lock('process-orders') is None
        assert release_lock('process-orders', 'somebody else') == 0
    finally:
        assert release_lock('process-orders', lock_id) == 1
assert acquire_lock('process-orders')
print("ok")
