# The guide's "Client Code Examples" for Python, unchanged but for where the cluster is. The subscriber's loop has
# no end in the guide; here a publisher sends one message and the loop ends with it.
import os
import threading

import redis
from redis.cluster import RedisCluster

port = int(os.environ['REDIS_PORT'])

# Connect to cluster
if os.environ['GUIDE_CLIENT'] == 'cluster':
    rc = RedisCluster(
        host='localhost',
        port=port,
        password='your-password',
        decode_responses=True
    )
else:
    rc = redis.Redis(
        host='localhost',
        port=port,
        password='your-password',
        decode_responses=True
    )

# Basic operations
rc.set('user:1000:name', 'John Doe')
name = rc.get('user:1000:name')
assert name == 'John Doe'

# Pipeline for batching
pipe = rc.pipeline()
for i in range(100):
    pipe.set(f'key:{i}', f'value:{i}')
assert pipe.execute() == [True] * 100
assert rc.get('key:99') == 'value:99'

# Hash operations
rc.hset('user:1000', mapping={
    'name': 'John Doe',
    'email': 'john@example.com',
    'age': 30
})
user = rc.hgetall('user:1000')
assert user == {'name': 'John Doe', 'email': 'john@example.com', 'age': '30'}

# Pub/Sub
pubsub = rc.pubsub()
pubsub.subscribe('notifications')
heard = []
for message in pubsub.listen():
    print(message)
    heard.append(message['type'])
    if message['type'] == 'subscribe':
        threading.Thread(target=rc.publish, args=('notifications', 'Hello!')).start()
    else:
        assert message['data'] == 'Hello!'
        break
assert heard == ['subscribe', 'message']
print("ok")
