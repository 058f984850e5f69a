"""Where the API server is and who we are there: from a kubeconfig, or from the service account of our pod."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException

from gpu_topology.errors import SettingsError

KUBECONFIG_VARIABLE: Final = "KUBECONFIG"
"""Environment variable that names kubeconfigs, separated as in PATH; kubectl reads it too."""
_DEFAULT: Final = Path("~/.kube/config")


async def process_credentials(kubeconfig: Path | None) -> Configuration:
    """The credentials of a service: of this file, else of the pod's service account, else of the default kubeconfig.

    Raises:
        SettingsError: there are none, or they cannot be read.
    """
    if kubeconfig is None:
        try:
            return _service_account()
        except ConfigException:
            return await _loaded(str(_DEFAULT) if (named := os.environ.get(KUBECONFIG_VARIABLE)) is None else named)
    return await _loaded(str(kubeconfig))


async def kubectl_credentials(kubeconfig: Path | None, context: str | None) -> Configuration:
    """The credentials that kubectl would use.

    Those of this file, else of the files that KUBECONFIG names, else of ~/.kube/config, else of the pod's service
    account. Of several files the first that names a current context decides.

    Args:
        kubeconfig: the file to use.
        context: the context to use; None: the current one.

    Raises:
        SettingsError: there are none, or they cannot be read.
    """
    files = _files(kubeconfig)
    if not files:
        try:
            return _service_account()
        except ConfigException as error:
            raise SettingsError(
                f"no kubeconfig: {KUBECONFIG_VARIABLE} names no file that exists, there is no {_DEFAULT}, and this is "
                "no pod with a service account"
            ) from error
    documents = [_document(file) for file in files]
    current = (str(document["current-context"]) for document in documents if document.get("current-context"))
    return await _loaded(os.pathsep.join(map(str, files)), context or next(current, None))


def _files(kubeconfig: Path | None) -> list[Path]:
    if kubeconfig is not None:
        if not kubeconfig.is_file():
            raise SettingsError(f"{kubeconfig} cannot be read: there is no such file")
        return [kubeconfig]
    named = os.environ.get(KUBECONFIG_VARIABLE) or str(_DEFAULT)
    return [path for each in named.split(os.pathsep) if each and (path := Path(each).expanduser()).is_file()]


def _document(file: Path) -> Mapping[str, Any]:
    """What stands in a kubeconfig; the client falls over one that is not YAML, or no mapping."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{file} is no kubeconfig: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{file} is no kubeconfig: it holds no mapping")
    return document


def _service_account() -> Configuration:
    configuration = Configuration()
    kubernetes_config.load_incluster_config(client_configuration=configuration)
    return configuration


async def _loaded(files: str, context: str | None = None) -> Configuration:
    configuration = Configuration()
    try:
        await kubernetes_config.load_kube_config(
            config_file=files, context=context, client_configuration=configuration, persist_config=False
        )
    except (ConfigException, OSError, ValueError, TypeError, yaml.YAMLError) as error:
        # A section of the wrong type meets the client as a TypeError.
        raise SettingsError(f"no usable credentials for the API server: {' '.join(str(error).split())}") from error
    return configuration
