from services.executor.app import create_app
from shared.service import main

main(create_app)
