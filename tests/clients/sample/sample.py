from zookeeper import ZooKeeper
zk = ZooKeeper('localhost:2181')
zk.start()
zk.create('/test', 'test data', ZooKeeper.EPHEMERAL)
zk.get('/test')
zk.delete('/test')
zk.stop()
