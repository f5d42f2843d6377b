from tests.contract.object_store.conftest import (  # noqa: F401 - fixtures
    aws_environment,
    ceph_endpoint,
    localstack_endpoint,
    moto_endpoint,
)
